//! `/people/{id}`: what somebody shows to those who are signed in.

use askama::Template;
use axum::{extract::State as Shared, response::Response};
use kernel::{Fragment, Language, Path, Problem, UserId, principal::CurrentUser};
use serde_json::Value;

use super::texts;
use crate::{State, http::view::PublicProfileView, store};

#[derive(Template)]
#[template(path = "person.html")]
struct Page {
    l: Language,
    is_caller: bool,
    picture: Option<String>,
    shown: PublicProfileView,
}

impl Page {
    fn attributes(&self) -> Vec<(&str, String)> {
        let attributes = self.shown.attributes.iter();
        let attributes = attributes.map(|(name, value)| match value {
            Value::String(text) => (name.as_str(), text.clone()),
            value => (name.as_str(), value.to_string()),
        });
        attributes.collect()
    }

    fn is_bare(&self) -> bool {
        let shown = &self.shown;
        shown.bio.is_none()
            && shown.locale.is_none()
            && shown.time_zone.is_none()
            && shown.links.is_empty()
            && shown.attributes.is_empty()
    }
}

#[tracing::instrument(name = "profile.page.person", skip_all, fields(profile.user_id = %user_id))]
pub(super) async fn page(
    Shared(state): Shared<State>,
    language: Language,
    caller: CurrentUser,
    Path(user_id): Path<UserId>,
) -> Result<Response, Problem> {
    let mut conn = state.db.pool().acquire().await?;
    let profile = store::profiles::find(&mut conn, user_id).await?;
    drop(conn);
    let profile = profile.ok_or_else(Problem::not_found)?;
    let path = state.avatar_path(&profile);
    let shown = PublicProfileView::new(&state, profile);
    let page = Page {
        l: language,
        is_caller: caller.id == user_id,
        picture: path.filter(|_| shown.avatar_url.is_some()),
        shown,
    };
    let title = page.shown.display_name.clone();
    let title = title.unwrap_or_else(|| texts::NAMELESS.of(&language).to_owned());
    Ok(Fragment::page(title, language, &page))
}
