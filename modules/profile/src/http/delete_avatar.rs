//! `DELETE /api/v1/profiles/me/avatar`.

use axum::{extract::State as Shared, http::HeaderMap, response::Response};
use kernel::{Problem, UserId, principal::CurrentUser};

use crate::{
    State,
    domain::Profile,
    edit,
    http::{
        etag,
        get_me::no_profile,
        view::{self, ProfileView},
    },
    store,
};

/// Takes the picture from the caller's profile, if it has one.
#[utoipa::path(
    delete,
    path = "/api/v1/profiles/me/avatar",
    operation_id = "delete_my_avatar",
    params(
        ("If-Match" = Option<String>, Header,
            description = "The `ETag` of the profile, if it must be that one.")
    ),
    responses(
        (status = 200, description = "The profile as it is now", body = ProfileView, headers(
            ("ETag" = String, description = "To be sent back as `If-Match` with the next edit.")
        )),
        (status = 401, description = "Nobody is signed in", body = Problem),
        (status = 403, description = "The caller is not a person", body = Problem),
        (status = 404, description = "`profile-not-found`: there is none yet", body = Problem),
        (status = 412, description = "`precondition-failed`: the profile has changed meanwhile",
            body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
#[tracing::instrument(name = "profile.delete_avatar", skip_all, fields(user.id = %user.id))]
pub(crate) async fn delete_avatar(
    Shared(state): Shared<State>,
    user: CurrentUser,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let check = |profile: &Profile| etag::check_if_given(&headers, profile);
    let profile = take_away(&state, user.id, check).await?;
    Ok(view::own(&state, profile))
}

/// Takes a profile's picture from it, if the check of it as it is allows that.
pub(super) async fn take_away(
    state: &State,
    user_id: UserId,
    check: impl FnOnce(&Profile) -> Result<(), Problem>,
) -> Result<Profile, Problem> {
    let mut tx = state.db.begin().await?;
    let old = store::profiles::lock(&mut tx, user_id).await?;
    let old = old.ok_or_else(no_profile)?;
    check(&old)?;
    store::avatars::drop_kept(&mut tx, user_id, state.db.world().now()).await?;
    let new = Profile {
        avatar: None,
        ..old.clone()
    };
    let profile = edit::save(state, &mut tx, &old, new).await?;
    tx.commit().await?;
    Ok(profile)
}
