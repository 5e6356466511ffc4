//! `/admin/users`: finding accounts, and one account. Administrators read English.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State as Shared, response::Response};
use kernel::{
    Form, Fragment, Language, PagedQuery, Path, Problem, Query, UserId, html, page::Page as Paged,
    principal::CurrentUser,
};
use serde::Deserialize;

use super::form::{see_other, with_query};
use crate::{
    State,
    administration::{self, Act},
    http::{
        error::Error,
        users::{
            get::account,
            list::{ListUsersParams, find},
        },
    },
    store::{self, administration::Account, sessions::Session},
};

#[derive(Template)]
#[template(path = "pages/users.html")]
struct ListPage {
    q: String,
    state: &'static str,
    users: Vec<Account>,
    older: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListParams {
    #[serde(default)]
    q: String,
    /// Of the select: empty, `admin` or `suspended`.
    #[serde(default)]
    state: String,
}

#[tracing::instrument(name = "identity.page.users", skip_all)]
pub(super) async fn list(
    Shared(state): Shared<Arc<State>>,
    PagedQuery(params, page): PagedQuery<ListParams>,
) -> Result<Response, Problem> {
    let (limit, before) = (page.limit()?, page.cursor::<UserId>()?);
    let chosen = match &*params.state {
        "admin" => "admin",
        "suspended" => "suspended",
        _ => "",
    };
    let filter = ListUsersParams {
        q: Some(params.q.clone()),
        role: (chosen == "admin").then(|| "admin".to_owned()),
        suspended: (chosen == "suspended").then_some(true),
    };
    let found = find(&state, &filter, before, limit + 1)
        .await
        .map_err(Error::from)?;
    let page = Paged::from_rows(found, limit, |user| user.user_id, |user| user);
    let older = page.next_cursor.map(|cursor| {
        let pairs = [("q", &*params.q), ("state", chosen), ("cursor", &*cursor)];
        with_query("/admin/users", &pairs)
    });
    let inside = ListPage {
        q: params.q,
        state: chosen,
        users: page.items,
        older,
    };
    Ok(Fragment::page("Users", Language::En, &inside))
}

#[derive(Template)]
#[template(path = "pages/user.html")]
struct UserPage {
    user: Account,
    sessions: Vec<Session>,
    /// It is the one who looks.
    own: bool,
    done: Option<&'static str>,
}

#[derive(Deserialize)]
pub(super) struct Params {
    done: Option<String>,
}

#[tracing::instrument(name = "identity.page.user", skip_all)]
pub(super) async fn user(
    Shared(state): Shared<Arc<State>>,
    caller: CurrentUser,
    Path(id): Path<UserId>,
    Query(params): Query<Params>,
) -> Result<Response, Error> {
    let user = account(&state, id).await?;
    let now = state.db.world().now();
    let limit = state.config.max_sessions_per_user;
    let mut conn = state.db.pool().acquire().await?;
    let sessions = store::sessions::of_user(&mut conn, id, now, limit).await?;
    let done = params.done.as_deref().and_then(named).map(|(_, done)| done);
    let title = user.email.clone();
    let inside = UserPage {
        own: caller.id == id,
        user,
        sessions,
        done,
    };
    Ok(Fragment::page(title, Language::En, &inside))
}

/// What the page's buttons do, and what is said of it after.
fn named(act: &str) -> Option<(Act, &'static str)> {
    Some(match act {
        "suspend" => (
            Act::Suspend,
            "The account is suspended, and signed out everywhere.",
        ),
        "reinstate" => (Act::Reinstate, "The account may be used again."),
        "sign-out" => (Act::SignOut, "Signed out everywhere."),
        "grant-admin" => (Act::GrantAdmin, "The account is an administrator now."),
        "revoke-admin" => (
            Act::RevokeAdmin,
            "The account is no administrator any more.",
        ),
        _ => return None,
    })
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

#[tracing::instrument(name = "identity.page.user_act", skip_all)]
pub(super) async fn act(
    Shared(state): Shared<Arc<State>>,
    caller: CurrentUser,
    Path((id, act)): Path<(UserId, String)>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, Error> {
    let (what, _) = named(&act).ok_or(Error::NotFound)?;
    administration::act(&state, caller.id, id, what).await?;
    Ok(see_other(&with_query(
        &format!("/admin/users/{id}"),
        &[("done", &*act)],
    )))
}
