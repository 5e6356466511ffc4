//! `GET /dev/mailbox/messages/{id}/html`.

use axum::{
    extract::State as Shared,
    response::{Html, IntoResponse},
};
use kernel::{Path, Problem};
use uuid::Uuid;

use super::mailbox;
use crate::{State, store};

/// The mail runs in a sandbox of its own origin, opened alone or in a frame: no script, no form, no
/// cookie, nothing loaded from elsewhere. Its links open outside, as from a mail program.
const POLICY: &str = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; \
                      style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'";

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
) -> Result<impl IntoResponse, Problem> {
    mailbox::check(&state)?;
    let mut conn = state.db.pool().acquire().await?;
    let mail = store::mailbox::find(&mut conn, id)
        .await?
        .ok_or_else(Problem::not_found)?;
    Ok((mailbox::page_headers(POLICY), Html(mail.html)))
}
