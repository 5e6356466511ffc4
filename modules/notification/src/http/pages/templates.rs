//! `/admin/mails/templates`: what mails look like.

use askama::Template;
use axum::{extract::State as Shared, response::Response};
use kernel::{Fragment, Language, Path, Problem, Query};
use serde::Deserialize;

use crate::{
    State,
    domain::{Category, Locale},
    http::sandbox,
    mail::{Rendered, preview, templates},
};

pub(super) const PATH: &str = "/admin/mails/templates";

#[derive(Template)]
#[template(path = "pages/templates.html")]
struct ListPage {
    templates: Vec<(String, Category)>,
}

#[tracing::instrument(name = "notification.page.templates", skip_all)]
pub(super) async fn list(Shared(state): Shared<State>) -> Response {
    let page = ListPage {
        templates: templates(state.db.world(), &state.sealer),
    };
    Fragment::page("Templates", Language::En, &page)
}

#[derive(Template)]
#[template(path = "pages/template.html")]
struct Page {
    name: String,
    locale: Locale,
    mail: Rendered,
}

impl Page {
    fn locales(&self) -> [Locale; 2] {
        Locale::ALL
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    #[serde(default)]
    locale: String,
}

fn rendered(state: &State, name: &str, locale: Locale) -> Result<Rendered, Problem> {
    let world = state.db.world();
    let found = preview(name, locale, world, &state.sealer, &state.frame);
    let (_, mail) = found
        .ok_or_else(Problem::not_found)?
        .map_err(Problem::internal)?;
    Ok(mail)
}

#[tracing::instrument(name = "notification.page.template", skip_all)]
pub(super) async fn page(
    Shared(state): Shared<State>,
    Path(name): Path<String>,
    Query(params): Query<Params>,
) -> Result<Response, Problem> {
    let locale = Locale::nearest(&params.locale);
    let page = Page {
        mail: rendered(&state, &name, locale)?,
        locale,
        name,
    };
    let title = page.mail.subject.clone();
    Ok(Fragment::page(title, Language::En, &page))
}

/// The mail's HTML, for the frame on its page.
pub(super) async fn document(
    Shared(state): Shared<State>,
    Path(name): Path<String>,
    Query(params): Query<Params>,
) -> Result<Response, Problem> {
    let mail = rendered(&state, &name, Locale::nearest(&params.locale))?;
    Ok(sandbox::document(mail.html))
}
