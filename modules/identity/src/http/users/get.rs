//! `GET /api/v1/users/{id}`.

use std::sync::Arc;

use axum::extract::State as Shared;
use kernel::{Path, Problem, UserId};

use super::UserView;
use crate::{
    State,
    http::{
        cache::{self, Cached},
        error::Error,
    },
    store::administration::{self, Account, Filter},
};

/// An account.
#[utoipa::path(
    get,
    path = "/api/v1/users/{id}",
    operation_id = "get_user",
    params(("id" = UserId, Path, description = "The account's id")),
    responses(
        (status = 200, description = "The account", body = UserView),
        (status = 401, description = "Not signed in", body = Problem),
        (status = 403, description = "The role admin is needed", body = Problem),
        (status = 404, description = "There is no such account", body = Problem),
    )
)]
#[tracing::instrument(name = "identity.get_user", skip_all)]
pub(crate) async fn get_user(
    Shared(state): Shared<Arc<State>>,
    Path(id): Path<UserId>,
) -> Result<Cached<UserView>, Error> {
    Ok(cache::no_store(account(&state, id).await?.into()))
}

pub(crate) async fn account(state: &State, id: UserId) -> Result<Account, Error> {
    let filter = Filter {
        user_id: Some(id),
        ..Filter::default()
    };
    let mut conn = state.db.pool().acquire().await?;
    let mut found = administration::search(&mut conn, &filter, None, 1).await?;
    found.pop().ok_or(Error::NotFound)
}
