//! `GET /api/v1/users`.

use std::sync::Arc;

use axum::extract::State as Shared;
use kernel::{
    PagedQuery, Problem, UserId,
    page::{Page, PageParams},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::UserView;
use crate::{
    State,
    http::{
        cache::{self, Cached},
        error::Error,
    },
    store::administration::{self, Filter},
};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListUsersParams {
    /// Beginnings of words of name and address, all of which must be there; or an id.
    #[param(max_length = 200, example = "ada example")]
    pub(crate) q: Option<String>,
    /// Those with the role.
    #[param(example = "admin")]
    pub(crate) role: Option<String>,
    /// Those that are suspended, or those that are not.
    pub(crate) suspended: Option<bool>,
}

impl ListUsersParams {
    pub(crate) fn filter(&self) -> Filter {
        let q = self.q.as_deref().map(str::trim).filter(|q| !q.is_empty());
        let user_id = q.and_then(|q| q.parse().ok());
        Filter {
            words: q.filter(|_| user_id.is_none()).map(words),
            user_id,
            role: self.role.clone().filter(|role| !role.is_empty()),
            suspended: self.suspended,
        }
    }
}

/// As PostgreSQL's `to_tsquery` wants them. Of what was typed only letters and digits are left, so that
/// nothing of it is taken for an operator.
fn words(q: &str) -> String {
    const MAX_WORDS: usize = 8;
    let words = q.split(|c: char| !c.is_alphanumeric());
    let words = words.filter(|word| !word.is_empty()).take(MAX_WORDS);
    let words: Vec<String> = words
        .map(|word| format!("{}:*", word.to_lowercase()))
        .collect();
    if words.is_empty() {
        // Nothing but signs: no word begins so.
        return "!a & a".to_owned();
    }
    words.join(" & ")
}

/// Finds accounts.
///
/// The newest first.
#[utoipa::path(
    get,
    path = "/api/v1/users",
    operation_id = "list_users",
    params(ListUsersParams, PageParams),
    responses(
        (status = 200, description = "A page of accounts", body = Page<UserView>),
        (status = 401, description = "Not signed in", body = Problem),
        (status = 403, description = "The role admin is needed", body = Problem),
        (status = 422, description = "A filter is not one, or not good", body = Problem),
    )
)]
#[tracing::instrument(name = "identity.list_users", skip_all)]
pub(crate) async fn list_users(
    Shared(state): Shared<Arc<State>>,
    PagedQuery(params, page): PagedQuery<ListUsersParams>,
) -> Result<Cached<Page<UserView>>, Problem> {
    let (limit, before) = (page.limit()?, page.cursor::<UserId>()?);
    let found = find(&state, &params, before, limit + 1)
        .await
        .map_err(Error::from)?;
    let page = Page::from_rows(found, limit, |user| user.user_id, UserView::from);
    Ok(cache::no_store(page))
}

pub(crate) async fn find(
    state: &State,
    params: &ListUsersParams,
    before: Option<UserId>,
    limit: i64,
) -> Result<Vec<administration::Account>, sqlx::Error> {
    let mut conn = state.db.pool().acquire().await?;
    administration::search(&mut conn, &params.filter(), before, limit).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_beginnings_and_never_operators() {
        for (typed, query) in [
            ("ada", "ada:*"),
            ("Ada Love", "ada:* & love:*"),
            ("ada@example.org", "ada:* & example:* & org:*"),
            ("a | b & !c:* <-> (d)", "a:* & b:* & c:* & d:*"),
            ("'; DROP", "drop:*"),
            ("@@", "!a & a"),
        ] {
            assert_eq!(words(typed), query, "{typed}");
        }
    }
}
