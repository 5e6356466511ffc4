//! `GET /dev/mailbox/messages/{id}/html`.

use axum::{extract::State as Shared, response::Response};
use kernel::{Path, Problem};
use uuid::Uuid;

use super::{mailbox, sandbox};
use crate::{State, store};

/// The HTML of one mail, as a document that can do nothing.
#[utoipa::path(
    get,
    path = "/dev/mailbox/messages/{id}/html",
    operation_id = "get_mailbox_message_html",
    params(("id" = Uuid, Path, description = "The mail's id")),
    responses(
        (status = 200, description = "The mail", content_type = "text/html", body = String),
        (status = 404, description = "There is no such mail, or no mailbox", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
pub(crate) async fn mailbox_html(
    Shared(state): Shared<State>,
    Path(id): Path<Uuid>,
) -> Result<Response, Problem> {
    mailbox::check(&state)?;
    let mut conn = state.db.pool().acquire().await?;
    let mail = store::mailbox::find(&mut conn, id)
        .await?
        .ok_or_else(Problem::not_found)?;
    Ok(sandbox::document(mail.html))
}
