//! `GET /api/v1/profiles/me`.

use std::time::Duration;

use axum::{
    extract::State as Shared,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use kernel::{Problem, principal::CurrentUser};
use tokio::time::{Instant, sleep};

use crate::{
    State,
    domain::Profile,
    http::view::{self, ProfileView},
    store,
};

/// The caller's own profile.
#[utoipa::path(
    get,
    path = "/api/v1/profiles/me",
    operation_id = "get_my_profile",
    params(
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of a copy at hand.")
    ),
    responses(
        (status = 200, description = "The profile", body = ProfileView, headers(
            ("ETag" = String, description = "To be sent back as `If-Match` with an edit.")
        )),
        (status = 304, description = "The copy at hand is still the present one"),
        (status = 401, description = "Nobody is signed in", body = Problem),
        (status = 403, description = "The caller is not a person", body = Problem),
        (status = 404, description = "`profile-not-found`: a new account's profile is made \
            moments later", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
#[tracing::instrument(name = "profile.get", skip_all, fields(user.id = %user.id))]
pub(crate) async fn get_me(
    Shared(state): Shared<State>,
    user: CurrentUser,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let profile = find_or_wait(&state, user).await?.ok_or_else(no_profile)?;
    Ok(view::own_unless_known(&state, &request, profile))
}

/// Someone who registered a moment ago is let in before the news of it reached this module: they
/// wait a little, rather than being told that they have no profile.
pub(super) async fn find_or_wait(
    state: &State,
    user: CurrentUser,
) -> Result<Option<Profile>, Problem> {
    let until = Instant::now() + state.config.new_profile_wait();
    let mut pause = Duration::from_millis(20);
    loop {
        // A connection is held for the statement only, never while waiting.
        let mut conn = state.db.pool().acquire().await?;
        let profile = store::profiles::find(&mut conn, user.id).await?;
        drop(conn);
        let left = until.saturating_duration_since(Instant::now());
        if profile.is_some() || left.is_zero() {
            return Ok(profile);
        }
        sleep(pause.min(left)).await;
        pause = (pause * 2).min(Duration::from_millis(250));
    }
}

pub(crate) fn no_profile() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "profile-not-found",
        "There is no profile yet",
    )
    .detail("A new account's profile is made moments after registering. Try again shortly.")
    .retry_after(1)
}
