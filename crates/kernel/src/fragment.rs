//! Pages: a module renders what is inside, and the edge puts the shell around it, wherever the module
//! runs.

use askama::Template;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use crate::{
    language::{Language, Text},
    problem::Problem,
};

/// The media type of a [`Fragment`] on its way to the edge. Who accepts it puts the shell around it; else
/// the process that rendered it does.
pub const FRAGMENT_JSON: &str = "application/vnd.banyan.fragment+json";

/// The inside of a page.
#[derive(Debug, Serialize, Deserialize)]
pub struct Fragment {
    pub title: String,
    /// From a template, which has escaped what it was given.
    pub html: String,
    pub language: Language,
}

impl Fragment {
    /// Renders a template as a page.
    pub fn page(title: impl Into<String>, language: Language, inside: &impl Template) -> Response {
        Self::with_status(StatusCode::OK, title, language, inside)
    }

    /// The same, with another status: a form that comes back with what is wrong.
    pub fn with_status(
        status: StatusCode,
        title: impl Into<String>,
        language: Language,
        inside: &impl Template,
    ) -> Response {
        let html = match inside.render() {
            Ok(html) => html,
            Err(error) => return Problem::internal(error).into_response(),
        };
        let fragment = Self {
            title: title.into(),
            html,
            language,
        };
        let body = serde_json::to_vec(&fragment).expect("a fragment is plain data");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(FRAGMENT_JSON),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// Which navigation a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// What people see of their own: below `/account`.
    Account,
    /// What administrators see: below `/admin`.
    Admin,
}

/// An entry of the navigation.
#[derive(Clone, Copy, Debug)]
pub struct NavItem {
    pub area: Area,
    pub path: &'static str,
    pub title: Text,
    /// Entries of all modules stand in this order.
    pub position: u16,
}
