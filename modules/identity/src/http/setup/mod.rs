//! `/setup`: the page that makes the first administrator. See [`crate::setup`].

pub(crate) mod form;
pub(crate) mod submit;

use askama::Template;
use axum::{http::StatusCode, response::Response};
use kernel::{Fragment, Language};

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
}

/// There is an administrator.
#[derive(Template)]
#[template(path = "setup_closed.html")]
struct ClosedPage;

fn page(status: StatusCode, template: &impl Template) -> Response {
    Fragment::with_status(status, "Set up", Language::En, template)
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
        };
        for html in [body(&FormPage::default()), body(&done), body(&ClosedPage)] {
            assert!(!html.contains("<script") && !html.contains("style=\""));
            for attribute in ["src=", "href="] {
                for (at, _) in html.match_indices(attribute) {
                    let target = &html[at + attribute.len()..];
                    assert!(target.starts_with("\"/sign-in\""), "{target}");
                }
            }
        }
    }
}
