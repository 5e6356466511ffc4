//! `GET /api/v1/profiles/{id}`.

use axum::{extract::State as Shared, http::HeaderMap, response::Response};
use kernel::{Path, Problem, UserId};

use crate::{
    State,
    http::view::{self, PublicProfileView},
    store,
};

/// What somebody shows to those who are signed in.
#[utoipa::path(
    get,
    path = "/api/v1/profiles/{id}",
    operation_id = "get_profile",
    params(
        ("id" = UserId, Path, description = "The account's id."),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of a copy at hand.")
    ),
    responses(
        (status = 200, description = "The profile, as far as its owner shows it",
            body = PublicProfileView, headers(("ETag" = String))),
        (status = 304, description = "The copy at hand is still the present one"),
        (status = 401, description = "Nobody is signed in", body = Problem),
        (status = 404, description = "There is no such account", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
#[tracing::instrument(name = "profile.get_public", skip_all, fields(profile.user_id = %user_id))]
pub(crate) async fn get_profile(
    Shared(state): Shared<State>,
    Path(user_id): Path<UserId>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let mut conn = state.db.pool().acquire().await?;
    let profile = store::profiles::find(&mut conn, user_id).await?;
    // Never was, was erased, or is not made yet: to others it is the same.
    let profile = profile.ok_or_else(Problem::not_found)?;
    Ok(view::public_unless_known(&state, &request, profile))
}
