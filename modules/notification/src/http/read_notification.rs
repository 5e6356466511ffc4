//! `POST /api/v1/notifications/{id}/read`.

use axum::{extract::State as Shared, http::StatusCode};
use kernel::{Hint, Path, Problem, UserId, principal::CurrentUser};
use uuid::Uuid;

use crate::{
    State,
    live::INBOX_TOPIC,
    store::{self, notifications::Mark},
};

/// Marks one of the caller's notifications as read. Repeating it changes nothing.
#[utoipa::path(
    post,
    path = "/api/v1/notifications/{id}/read",
    operation_id = "read_notification",
    params(("id" = Uuid, Path, description = "The notification's id")),
    responses(
        (status = 204, description = "It is read, now or since before"),
        (status = 401, description = "Nobody is signed in", body = Problem),
        (status = 403, description = "The caller is not a person", body = Problem),
        (status = 404, description = "The caller has no such notification", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
#[tracing::instrument(name = "notification.read", skip_all, fields(user.id = %user.id))]
pub(crate) async fn read_notification(
    Shared(state): Shared<State>,
    user: CurrentUser,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    mark_read(&state, user.id, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn mark_read(state: &State, user_id: UserId, id: Uuid) -> Result<(), Problem> {
    let now = state.db.world().now();
    let mut conn = state.db.pool().acquire().await?;
    match store::notifications::mark_read(&mut conn, user_id, id, now).await? {
        // The person's other screens show how many are unread.
        Mark::Now => state.db.bus().hint(Hint {
            topic: INBOX_TOPIC.to_owned(),
            key: user_id.to_string(),
        }),
        Mark::Before => {}
        Mark::Missing => return Err(Problem::not_found()),
    }
    Ok(())
}
