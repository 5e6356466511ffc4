//! `POST /api/v1/auth/registrations/{id}/resend`.

use std::sync::Arc;

use axum::{extract::State as Shared, http::StatusCode};
use kernel::{Path, Problem};
use uuid::Uuid;

use super::publish_mail;
use crate::{State, domain::VerificationCode, http::error::Error, store};

/// Has a new code mailed.
///
/// It takes the place of the one before. There is a pause between two codes and an end to their
/// number; the registration's own end does not move. The answer is always the same.
#[utoipa::path(
    post,
    path = "/api/v1/auth/registrations/{id}/resend",
    operation_id = "resend_verification_code",
    params(("id" = Uuid, Path, description = "As given when registering")),
    responses(
        (status = 202, description = "If the registration waits, and a code is due, it is mailed"),
        (status = 404, description = "The id is not one", body = Problem),
    )
)]
#[tracing::instrument(name = "identity.resend", skip_all)]
pub(crate) async fn resend(
    Shared(state): Shared<Arc<State>>,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Error> {
    let world = state.db.world();
    let now = world.now();
    let code = VerificationCode::random(world);
    let digest = code.digest(&state.keys.verification_codes, id);

    let mut tx = state.db.begin().await?;
    let bounds = state.config.registration;
    let recipient = store::registrations::replace_code(&mut tx, id, &digest, bounds, now).await?;
    if let Some(recipient) = recipient {
        publish_mail(&mut tx, &state, id, recipient, &code);
        tx.commit().await?;
    }
    Ok(StatusCode::ACCEPTED)
}
