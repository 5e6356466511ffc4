//! `DELETE /api/v1/notifications/suppressions/{id}`.

use axum::{extract::State as Shared, http::StatusCode};
use kernel::{Path, Problem};
use uuid::Uuid;

use crate::{State, events::SuppressionLifted, store};

/// Lets an address have mail again.
#[utoipa::path(
    delete,
    path = "/api/v1/notifications/suppressions/{id}",
    operation_id = "lift_suppression",
    params(("id" = Uuid, Path, description = "The suppression's id")),
    responses(
        (status = 204, description = "It is lifted"),
        (status = 401, description = "Nobody is signed in", body = Problem),
        (status = 403, description = "The caller is no administrator", body = Problem),
        (status = 404, description = "There is none, or none any more", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
#[tracing::instrument(name = "notification.lift_suppression", skip_all)]
pub(crate) async fn lift_suppression(
    Shared(state): Shared<State>,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    lift(&state, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(in crate::http) async fn lift(state: &State, id: Uuid) -> Result<(), Problem> {
    let mut tx = state.db.begin().await?;
    if !store::suppressions::lift(&mut tx, id).await? {
        return Err(Problem::not_found());
    }
    tx.publish(&SuppressionLifted { suppression_id: id });
    tx.commit().await?;
    Ok(())
}
