//! `GET /api/v1/notifications`.

use axum::extract::State as Shared;
use kernel::{
    Json, Problem, Query,
    page::{Page, PageParams},
    principal::CurrentUser,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::view::{NotificationView, Words};
use crate::{State, store};

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NotificationPage {
    /// Of all, not of this page; 1000 stands for that many or more.
    #[schema(minimum = 0, maximum = 1000)]
    unread_count: i64,
    items: Vec<NotificationView>,
    /// Pass it as `cursor` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// The caller's notifications, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/notifications",
    operation_id = "list_notifications",
    params(PageParams),
    responses(
        (status = 200, description = "One page, newest first", body = NotificationPage),
        (status = 401, description = "Nobody is signed in", body = Problem),
        (status = 403, description = "The caller is not a person", body = Problem),
        (status = 422, description = "A parameter is not valid", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
#[tracing::instrument(name = "notification.list", skip_all, fields(user.id = %user.id))]
pub(crate) async fn list_notifications(
    Shared(state): Shared<State>,
    user: CurrentUser,
    Query(params): Query<PageParams>,
) -> Result<Json<NotificationPage>, Problem> {
    let (limit, before) = (params.limit()?, params.cursor::<i64>()?);
    let mut conn = state.db.pool().acquire().await?;
    let mut inbox = store::notifications::before(&mut conn, user.id, before, limit + 1).await?;
    drop(conn);

    let rows = std::mem::take(&mut inbox.items);
    let words = Words::of(&inbox, &state.frame);
    let page = Page::from_rows(rows, limit, |row| row.number, |row| words.view(row));
    Ok(Json(NotificationPage {
        unread_count: inbox.unread_count,
        items: page.items.into_iter().collect::<Result<_, _>>()?,
        next_cursor: page.next_cursor,
    }))
}
