//! `GET /api/v1/notifications/send/{id}`.

use axum::extract::State as Shared;
use kernel::{Json, Path, Principal, Problem};
use uuid::Uuid;

use super::{DeliveryView, SendView, sender};
use crate::{State, store};

/// What became of a request of the calling service.
#[utoipa::path(
    get,
    path = "/api/v1/notifications/send/{id}",
    operation_id = "get_send",
    params(("id" = Uuid, Path, description = "As the request was answered")),
    responses(
        (status = 200, description = "Its deliveries, as long as they are kept", body = SendView),
        (status = 401, description = "No token, or one that is not valid", body = Problem),
        (status = 403, description = "Not a service, or without the scope notifications:send",
            body = Problem),
        (status = 404, description = "The service has made no such request", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
#[tracing::instrument(name = "notification.get_send", skip_all)]
pub(crate) async fn get_send(
    Shared(state): Shared<State>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<Json<SendView>, Problem> {
    let sender = sender(&principal)?;
    let mut conn = state.db.pool().acquire().await?;
    let parts = store::sends::find(&mut conn, id, &sender)
        .await?
        .ok_or_else(Problem::not_found)?;
    let deliveries = parts.into_iter().map(DeliveryView::from).collect();
    Ok(Json(SendView { id, deliveries }))
}
