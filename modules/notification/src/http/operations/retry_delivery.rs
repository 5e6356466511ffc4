//! `POST /api/v1/notifications/deliveries/{id}/retry`.

use std::sync::Arc;

use axum::{extract::State as Shared, http::StatusCode};
use kernel::{Path, Problem};
use uuid::Uuid;

use super::not_possible;
use crate::{State, events::DeliveryRetried, store};

/// Has a delivery tried now: one that waits for its next try, failed or was suppressed.
///
/// It gets all its tries again. What carried a code cannot be sent once it has ended: the code is
/// gone, and its person asks for another.
#[utoipa::path(
    post,
    path = "/api/v1/notifications/deliveries/{id}/retry",
    operation_id = "retry_delivery",
    params(("id" = Uuid, Path, description = "The delivery's id")),
    responses(
        (status = 202, description = "It is tried as soon as may be"),
        (status = 401, description = "Nobody is signed in", body = Problem),
        (status = 403, description = "The caller is no administrator", body = Problem),
        (status = 404, description = "There is none, or it was cleared away", body = Problem),
        (status = 409, description = "`delivery-state`: it is being sent, has ended for good, or \
            carried a code", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
#[tracing::instrument(name = "notification.retry_delivery", skip_all, fields(delivery.id = %id))]
pub(crate) async fn retry_delivery(
    Shared(state): Shared<State>,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    retry(&state, id).await?;
    Ok(StatusCode::ACCEPTED)
}

pub(in crate::http) async fn retry(state: &State, id: Uuid) -> Result<(), Problem> {
    let outbound = &state.outbound;
    let now = outbound.world().now();
    let mut tx = state.db.begin().await?;
    if !store::operations::retry(&mut tx, id, now, now + outbound.lifetime).await? {
        return Err(match store::operations::find(&mut tx, id).await? {
            Some(_) => not_possible(
                "Only what waits, failed or was suppressed can be tried again, and no code.",
            ),
            None => Problem::not_found(),
        });
    }
    tx.publish(&DeliveryRetried { message_id: id });
    let wake = Arc::clone(&outbound.wake);
    tx.after_commit(move || wake.notify_one());
    tx.commit().await?;
    Ok(())
}
