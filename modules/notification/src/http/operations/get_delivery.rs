//! `GET /api/v1/notifications/deliveries/{id}`.

use axum::extract::State as Shared;
use kernel::{Json, Path, Problem};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::DeliverySummary;
use crate::{State, store};

/// More tries than max_attempts allows, and room for those that were asked for.
const MAX_ATTEMPTS: i64 = 200;

/// A delivery with its timeline.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryDetail {
    #[serde(flatten)]
    pub(in crate::http) delivery: DeliverySummary,
    /// The latest 200, in their order.
    pub(in crate::http) timeline: Vec<AttemptView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttemptView {
    /// From 1; again from 1 when it was sent once more by hand.
    pub(in crate::http) number: i32,
    /// `sent`; `queued` when it is to be tried again; or how else the delivery ended.
    pub(in crate::http) outcome: String,
    /// The mail server's words, or ours when there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) reply: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub(in crate::http) ended_at: OffsetDateTime,
}

/// One delivery: each try, what came of it, and what the mail server said.
#[utoipa::path(
    get,
    path = "/api/v1/notifications/deliveries/{id}",
    operation_id = "get_delivery",
    params(("id" = Uuid, Path, description = "The delivery's id")),
    responses(
        (status = 200, description = "The delivery", body = DeliveryDetail),
        (status = 401, description = "Nobody is signed in", body = Problem),
        (status = 403, description = "The caller is no administrator", body = Problem),
        (status = 404, description = "There is none, or it was cleared away", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
#[tracing::instrument(name = "notification.get_delivery", skip_all)]
pub(crate) async fn get_delivery(
    Shared(state): Shared<State>,
    Path(id): Path<Uuid>,
) -> Result<Json<DeliveryDetail>, Problem> {
    find(&state, id).await.map(Json)
}

pub(in crate::http) async fn find(state: &State, id: Uuid) -> Result<DeliveryDetail, Problem> {
    let mut conn = state.db.pool().acquire().await?;
    let row = store::operations::find(&mut conn, id)
        .await?
        .ok_or_else(Problem::not_found)?;
    let attempts = store::operations::attempts(&mut conn, id, MAX_ATTEMPTS).await?;
    let timeline = attempts.into_iter().map(|attempt| AttemptView {
        number: attempt.number,
        outcome: attempt.outcome,
        reply: attempt.reply,
        ended_at: attempt.ended_at,
    });
    Ok(DeliveryDetail {
        delivery: row.into(),
        timeline: timeline.collect(),
    })
}
