//! `/setup`: the page that makes the first administrator. See [`crate::setup`].

pub(crate) mod form;
pub(crate) mod style;
pub(crate) mod submit;

use askama::Template;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use kernel::Problem;

use crate::domain::Invalid;

/// The form, empty or as it came back.
#[derive(Template, Default)]
#[template(path = "setup_form.html")]
struct FormPage {
    /// What is wrong with the whole of it.
    problem: Option<&'static str>,
    email: String,
    display_name: String,
    invalid: InvalidFields,
}

/// What is wrong with which field.
#[derive(Debug, Default, PartialEq, Eq)]
struct InvalidFields {
    code: Option<Invalid>,
    email: Option<Invalid>,
    password: Option<Invalid>,
    display_name: Option<Invalid>,
}

impl InvalidFields {
    fn any(&self) -> bool {
        *self != Self::default()
    }
}

/// It is done.
#[derive(Template)]
#[template(path = "setup_done.html")]
struct DonePage<'a> {
    email: &'a str,
    login_url: &'a str,
}

/// There is an administrator.
#[derive(Template)]
#[template(path = "setup_closed.html")]
struct ClosedPage;

fn page(status: StatusCode, template: &impl Template) -> Response {
    let html = match template.render() {
        Ok(html) => html,
        Err(error) => return Problem::internal(error).into_response(),
    };
    let mut response = (status, Html(html)).into_response();
    for (name, value) in [
        // Stricter than the edge's, which says the rest: no script at all.
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; \
             base-uri 'none'",
        ),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(template: &impl Template) -> String {
        template.render().expect("it renders")
    }

    #[test]
    fn what_was_typed_comes_back_escaped_and_the_password_not_at_all() {
        let html = body(&FormPage {
            problem: Some("Nothing was changed."),
            email: "\"><script>alert(1)</script>".to_owned(),
            display_name: "<b>Ada</b> & \"co\"".to_owned(),
            invalid: InvalidFields {
                password: Some("must have at least 8 characters"),
                ..InvalidFields::default()
            },
        });
        assert!(!html.contains("<script"));
        assert!(!html.contains("<b>Ada"));
        assert!(html.contains("must have at least 8 characters"));
        assert!(html.contains("Nothing was changed."));
        assert_eq!(html.matches("aria-invalid").count(), 1);
        assert_eq!(html.matches("value=").count(), 2);
    }

    #[test]
    fn pages_need_nothing_from_elsewhere() {
        let done = DonePage {
            email: "ada@example.org",
            login_url: "https://example.org/api/v1/auth/login",
        };
        for html in [body(&FormPage::default()), body(&done), body(&ClosedPage)] {
            assert!(html.starts_with("<!doctype html>"), "{html}");
            assert!(!html.contains("<script") && !html.contains("style=\""));
            for attribute in ["src=", "href="] {
                for (at, _) in html.match_indices(attribute) {
                    let target = &html[at + attribute.len()..];
                    assert!(target.starts_with("\"/setup"), "{target}");
                }
            }
        }
    }

    #[test]
    fn headers_forbid_scripts_frames_and_caches() {
        let response = page(StatusCode::OK, &ClosedPage);
        let headers = response.headers();
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
    }
}
