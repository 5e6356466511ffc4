//! `POST /api/v1/notifications/deliveries/{id}/give-up`.

use axum::{extract::State as Shared, http::StatusCode};
use kernel::{Path, Problem};
use uuid::Uuid;

use super::not_possible;
use crate::{
    State,
    events::{DeliveryGivenUp, MessageFailed},
    store,
};

/// Ends a delivery that waits for its next try.
#[utoipa::path(
    post,
    path = "/api/v1/notifications/deliveries/{id}/give-up",
    operation_id = "give_up_delivery",
    params(("id" = Uuid, Path, description = "The delivery's id")),
    responses(
        (status = 204, description = "It is not tried again"),
        (status = 401, description = "Nobody is signed in", body = Problem),
        (status = 403, description = "The caller is no administrator", body = Problem),
        (status = 404, description = "There is none, or it was cleared away", body = Problem),
        (status = 409, description = "`delivery-state`: it is being sent, or has ended",
            body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
#[tracing::instrument(name = "notification.give_up_delivery", skip_all, fields(delivery.id = %id))]
pub(crate) async fn give_up_delivery(
    Shared(state): Shared<State>,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    give_up(&state, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(in crate::http) async fn give_up(state: &State, id: Uuid) -> Result<(), Problem> {
    let mut tx = state.db.begin().await?;
    let now = tx.now();
    let Some(given_up) = store::operations::give_up(&mut tx, id, now).await? else {
        return Err(match store::operations::find(&mut tx, id).await? {
            Some(_) => not_possible("Only what waits for its next try can be given up."),
            None => Problem::not_found(),
        });
    };
    tx.publish(&DeliveryGivenUp { message_id: id });
    tx.publish(&MessageFailed {
        message_id: id,
        user_id: given_up.user_id,
        channel: given_up.channel,
        template: given_up.template,
        attempts: given_up.attempts,
        reason: "gave_up".to_owned(),
    });
    tx.commit().await?;
    Ok(())
}
