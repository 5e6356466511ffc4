//! The shell around every page: head, navigation, foot.

use askama::Template;
use axum::http::StatusCode;
use kernel::{
    Fragment, Language, Principal, Text,
    fragment::{Area, NavItem},
};

use super::{assets, texts};
use crate::modules::MODULES;

/// Above all entries of modules.
const OVERVIEW: NavItem = NavItem {
    area: Area::Admin,
    path: "/admin",
    title: texts::OVERVIEW,
    position: 0,
};

#[derive(Template)]
#[template(path = "shell.html")]
pub struct Shell<'a> {
    product: &'a str,
    title: &'a str,
    inside: &'a str,
    l: Language,
    area: &'static str,
    signed_in: bool,
    is_admin: bool,
    items: Vec<Entry>,
    css: &'static str,
    js: &'static str,
    icon: &'static str,
}

struct Entry {
    path: &'static str,
    title: Text,
    current: bool,
}

impl<'a> Shell<'a> {
    pub fn new(
        product: &'a str,
        path: &str,
        principal: Option<&Principal>,
        fragment: &'a Fragment,
    ) -> Self {
        let area = if path == "/admin" || path.starts_with("/admin/") {
            Some(Area::Admin)
        } else if path == "/account" || path.starts_with("/account/") {
            Some(Area::Account)
        } else {
            None
        };
        let is_admin = principal.is_some_and(|principal| principal.has_role("admin"));
        let shown = match area {
            Some(Area::Admin) if !is_admin => None,
            Some(Area::Account) if principal.is_none() => None,
            area => area,
        };
        Self {
            product,
            title: &fragment.title,
            inside: &fragment.html,
            l: fragment.language,
            area: match area {
                Some(Area::Admin) => "admin",
                Some(Area::Account) => "account",
                // The mailbox of development: no card at the door, and nobody's area.
                None if path.starts_with("/dev/") => "plain",
                None => "door",
            },
            signed_in: principal.is_some(),
            is_admin,
            items: shown.map_or_else(Vec::new, |area| entries(area, path)),
            css: assets::url("banyan.css"),
            js: assets::url("banyan.js"),
            icon: assets::url("icon.svg"),
        }
    }
}

/// The navigation of an area, as all modules have it: also those that are down or elsewhere.
fn entries(area: Area, path: &str) -> Vec<Entry> {
    let of_modules = MODULES.iter().flat_map(|module| module.navigation());
    let mut items: Vec<&NavItem> = [&OVERVIEW]
        .into_iter()
        .chain(of_modules)
        .filter(|item| item.area == area)
        .collect();
    items.sort_by_key(|item| item.position);
    // Of entries that the path lies below, the longest.
    let current = items
        .iter()
        .filter(|item| crate::gateway::is_below(path, item.path))
        .map(|item| item.path.len())
        .max();
    items
        .into_iter()
        .map(|item| Entry {
            path: item.path,
            title: item.title,
            current: Some(item.path.len()) == current && crate::gateway::is_below(path, item.path),
        })
        .collect()
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    l: Language,
    title: String,
    detail: Option<String>,
    signed_out: bool,
    again: bool,
}

/// What went wrong, as a page.
pub fn problem(
    language: Language,
    status: StatusCode,
    title: String,
    detail: Option<String>,
    signed_out: bool,
) -> Result<Fragment, askama::Error> {
    let say = |text: Text| text.of(&language).to_owned();
    let (title, detail) = match status {
        StatusCode::UNAUTHORIZED => (say(texts::SIGNED_OUT), Some(say(texts::SIGNED_OUT_DETAIL))),
        StatusCode::NOT_FOUND => (say(texts::NOT_FOUND), Some(say(texts::NOT_FOUND_DETAIL))),
        StatusCode::FORBIDDEN if detail.as_deref() == Some("This needs the role admin.") => {
            (say(texts::FORBIDDEN), Some(say(texts::FORBIDDEN_DETAIL)))
        }
        StatusCode::SERVICE_UNAVAILABLE => (say(texts::UNAVAILABLE), detail),
        _ => (title, detail),
    };
    let page = ProblemPage {
        l: language,
        title: title.clone(),
        detail,
        signed_out,
        again: status.is_server_error(),
    };
    Ok(Fragment {
        title,
        html: page.render()?,
        language,
    })
}
