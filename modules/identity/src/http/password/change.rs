//! `POST /api/v1/auth/password/change`.

use std::sync::Arc;

use axum::{extract::State as Shared, http::StatusCode};
use kernel::{FieldError, Json, Problem, Secret, principal::CurrentUser};
use serde::Deserialize;
use utoipa::ToSchema;

use super::parse_new;
use crate::{
    State,
    domain::{Email, Password},
    events::{PasswordChange, PasswordChanged, SessionEnd},
    http::error::Error,
    sessions::{self, Proof},
    sign_in, store,
};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangePasswordRequest {
    #[schema(value_type = String, format = Password)]
    current_password: Secret,
    /// At least 8 characters, at most 256 bytes, and none of the common ones.
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 256)]
    new_password: Secret,
}

/// Sets another password.
///
/// All other sessions of the account end. Who has no password yet asks for a code
/// (`/api/v1/auth/password/forgot`) and sets one with it.
#[utoipa::path(
    post,
    path = "/api/v1/auth/password/change",
    operation_id = "change_password",
    request_body = ChangePasswordRequest,
    responses(
        (status = 204, description = "The password is set"),
        (status = 400, description = "The body is not JSON", body = Problem),
        (status = 401, description = "No access token, or its session is over", body = Problem),
        (status = 403, description = "The caller is not a person", body = Problem),
        (status = 415, description = "The body is of another type", body = Problem),
        (status = 422, description = "The current password is wrong, or the new one will not do",
         body = Problem),
        (status = 429, description = "Too many wrong guesses: `too-many-attempts`, see Retry-After",
         body = Problem),
        (status = 503, description = "Too many passwords wait to be hashed; see Retry-After",
         body = Problem),
    )
)]
#[tracing::instrument(name = "identity.change_password", skip_all)]
pub(crate) async fn change_password(
    Shared(state): Shared<Arc<State>>,
    caller: CurrentUser,
    Json(request): Json<ChangePasswordRequest>,
) -> Result<StatusCode, Error> {
    change(
        &state,
        caller,
        &request.current_password,
        &request.new_password,
    )
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn change(
    state: &State,
    caller: CurrentUser,
    current_password: &Secret,
    new_password: &Secret,
) -> Result<(), Error> {
    let now = state.db.world().now();
    let user = {
        let mut conn = state.db.pool().acquire().await?;
        store::users::of_session(&mut conn, caller.id, caller.session, now).await?
    };
    let user = user.ok_or(Error::SessionGone)?;
    let words = [Some(&*user.email), user.display_name.as_deref()];
    let words: Vec<&str> = words.into_iter().flatten().collect();
    let new = parse_new(new_password, &words)?;
    let wrong = || {
        let errors = vec![FieldError::new("/current_password", "is not the password")];
        Error::Invalid(errors)
    };
    let email = Email::parse(&user.email).map_err(|_| Error::SessionGone)?;
    let current = Password::typed(current_password).ok_or_else(wrong)?;
    let checked = sign_in::check_password(state, &email, current).await;
    let holder = checked.map_err(|error| match error {
        // 401 would say that the token is not good.
        Error::InvalidCredentials => wrong(),
        error => error,
    })?;
    let Proof::Password(old_hash) = holder.proof else {
        return Err(wrong());
    };
    let hash = state
        .passwords
        .hash(state.passwords.reserve()?, new)
        .await?;

    let mut tx = state.db.begin().await?;
    // Of two changes at once, the second was made by somebody who did not know of the first.
    if !store::users::replace_hash(&mut tx, caller.id, &old_hash, &hash).await? {
        return Err(wrong());
    }
    if let Some(guess) = holder.guess {
        guess.succeeded(&mut tx).await?;
    }
    let reason = SessionEnd::PasswordChanged;
    sessions::end_all(&mut tx, caller.id, Some(caller.session), reason).await?;
    tx.publish(&PasswordChanged {
        user_id: caller.id,
        change: PasswordChange::Changed,
    });
    tx.commit().await?;
    Ok(())
}
