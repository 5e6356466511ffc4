//! Pages for browsers: the shell around what modules render, assets, and who the browser's session is.
//!
//! A module answers with a [`Fragment`], in this process or in another; [`Pages::finish`] puts the shell
//! around it. A problem that a browser runs into becomes a page as well, so that a module that is down
//! takes only its own pages with it.

pub mod assets;
pub mod browser;
pub mod overview;
mod shell;
mod texts;

use askama::Template;
use axum::{
    body::to_bytes,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use kernel::{Fragment, Language, Principal, Problem, fragment::FRAGMENT_JSON, mime::PROBLEM_JSON};
use serde::Deserialize;
use url::form_urlencoded;

use self::shell::Shell;

/// More is no page.
const MAX_FRAGMENT_BYTES: usize = 8 * 1024 * 1024;

/// Who asks for a page, and which.
pub struct Visit {
    method: Method,
    /// Path and query.
    target: String,
    /// The browser takes HTML: problems become pages.
    wants_html: bool,
    language: Language,
    /// Once it is known.
    pub principal: Option<Principal>,
}

/// What is no page.
const OF_PROGRAMS: [&str; 3] = ["/api/", "/otlp/", "/static/"];

impl Visit {
    /// Nothing when it is no page, or whoever asks puts the shell around it: a gateway in front of this
    /// process.
    pub fn of(request: &Request) -> Option<Self> {
        let path = request.uri().path();
        if OF_PROGRAMS.iter().any(|prefix| path.starts_with(prefix)) {
            return None;
        }
        let headers = request.headers();
        if accepts(headers, FRAGMENT_JSON) {
            return None;
        }
        let target = request.uri().path_and_query();
        Some(Self {
            method: request.method().clone(),
            target: target.map_or_else(|| "/".to_owned(), ToString::to_string),
            wants_html: accepts(headers, "text/html"),
            language: Language::negotiated(headers),
            principal: None,
        })
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// What a gateway asks another process for: the inside of pages.
pub fn ask_for_fragments(headers: &mut HeaderMap) {
    let accepted = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    let accepted = accepted.unwrap_or("*/*");
    if let Ok(value) = HeaderValue::try_from(format!("{FRAGMENT_JSON}, {accepted}")) {
        headers.insert(header::ACCEPT, value);
    }
}

fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter();
    accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| range.split(';').next().unwrap_or_default().trim() == media_type)
}

/// A problem, as far as a page tells it.
#[derive(Deserialize)]
struct Told {
    title: String,
    detail: Option<String>,
}

pub struct Pages {
    product: String,
}

impl Pages {
    pub fn new(product: &str) -> Self {
        Self {
            product: product.to_owned(),
        }
    }

    /// Makes a page of an answer, if it is one.
    pub async fn finish(&self, visit: Visit, response: Response) -> Response {
        let content_type = response.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.map(HeaderValue::as_bytes).unwrap_or_default();
        if content_type == FRAGMENT_JSON.as_bytes() {
            return self.with_shell(&visit, response).await;
        }
        if content_type == PROBLEM_JSON.as_bytes() && visit.wants_html {
            return self.problem_page(&visit, response).await;
        }
        response
    }

    async fn with_shell(&self, visit: &Visit, response: Response) -> Response {
        let (parts, body) = response.into_parts();
        let fragment = to_bytes(body, MAX_FRAGMENT_BYTES)
            .await
            .map_err(anyhow::Error::from)
            .and_then(|bytes| Ok(serde_json::from_slice::<Fragment>(&bytes)?));
        match fragment {
            Ok(fragment) => self.page(visit, parts.status, &parts.headers, &fragment),
            Err(error) => Problem::internal(error).into_response(),
        }
    }

    async fn problem_page(&self, visit: &Visit, response: Response) -> Response {
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED && visit.method == Method::GET {
            let mut redirect = Redirect::to(&sign_in_path(&visit.target)).into_response();
            carry_over(response.headers(), redirect.headers_mut());
            return redirect;
        }
        let (parts, body) = response.into_parts();
        let told = to_bytes(body, MAX_FRAGMENT_BYTES).await;
        let told = told
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let told = told.unwrap_or_else(|| Told {
            title: status.to_string(),
            detail: None,
        });
        let signed_out = status == StatusCode::UNAUTHORIZED;
        let fragment = shell::problem(visit.language, status, told.title, told.detail, signed_out);
        match fragment {
            Ok(fragment) => self.page(visit, status, &parts.headers, &fragment),
            Err(error) => Problem::internal(error).into_response(),
        }
    }

    /// The page, with what the inside's answer said beside its body: cookies, Retry-After.
    fn page(
        &self,
        visit: &Visit,
        status: StatusCode,
        headers: &HeaderMap,
        fragment: &Fragment,
    ) -> Response {
        let shell = Shell::new(
            &self.product,
            visit.path(),
            visit.principal.as_ref(),
            fragment,
        );
        let mut page = match shell.render() {
            Ok(html) => (status, axum::response::Html(html)).into_response(),
            Err(error) => return Problem::internal(error).into_response(),
        };
        carry_over(headers, page.headers_mut());
        page
    }
}

/// What was said beside a body that another takes the place of, and holds for that as well; its policies
/// do not. A page is never kept: whose it is shows in no address.
fn carry_over(from: &HeaderMap, to: &mut HeaderMap) {
    for name in [header::SET_COOKIE, header::RETRY_AFTER] {
        for value in from.get_all(&name) {
            to.append(name.clone(), value.clone());
        }
    }
    to.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Where to sign in, to come back to a page after.
fn sign_in_path(target: &str) -> String {
    let next: String = form_urlencoded::byte_serialize(target.as_bytes()).collect();
    format!("/sign-in?next={next}")
}
