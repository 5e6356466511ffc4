//! `GET /api/v1/notifications/preferences`.

use axum::extract::State as Shared;
use kernel::{Problem, principal::CurrentUser};

use super::{PreferencesView, Reply, reply};
use crate::{State, store};

/// What the caller wants to be told, and where.
#[utoipa::path(
    get,
    path = "/api/v1/notifications/preferences",
    operation_id = "get_notification_preferences",
    responses(
        (status = 200, description = "The preferences", body = PreferencesView, headers(
            ("ETag" = String, description = "To be sent back as `If-Match` with an edit.")
        )),
        (status = 401, description = "Nobody is signed in", body = Problem),
        (status = 403, description = "The caller is not a person", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
#[tracing::instrument(name = "notification.preferences", skip_all, fields(user.id = %user.id))]
pub(crate) async fn get_preferences(
    Shared(state): Shared<State>,
    user: CurrentUser,
) -> Result<Reply, Problem> {
    let mut conn = state.db.pool().acquire().await?;
    let found = store::preferences::find(&mut conn, user.id).await?;
    Ok(reply(user.id, &found))
}
