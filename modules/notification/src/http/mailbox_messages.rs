//! `GET /dev/mailbox/messages`.

use axum::{
    extract::State as Shared,
    http::{HeaderName, HeaderValue, header},
};
use kernel::{Json, Problem, Query};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::mailbox;
use crate::{State, store};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListMailboxParams {
    /// Only mails to this address.
    to: Option<String>,
}

/// A mail as its recipient would have got it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MailboxMessage {
    id: Uuid,
    to: String,
    subject: String,
    text: String,
    html: String,
    #[serde(with = "time::serde::rfc3339")]
    sent_at: OffsetDateTime,
}

/// The newest mails of the development mailbox, at most 200, newest first.
#[utoipa::path(
    get,
    path = "/dev/mailbox/messages",
    operation_id = "list_mailbox_messages",
    params(ListMailboxParams),
    responses(
        (status = 200, description = "The mails", body = Vec<MailboxMessage>),
        (status = 404, description = "Not in development, or mail goes to a real server",
            body = Problem),
        (status = 422, description = "A parameter is not known", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
pub(crate) async fn mailbox_messages(
    Shared(state): Shared<State>,
    Query(params): Query<ListMailboxParams>,
) -> Result<([(HeaderName, HeaderValue); 1], Json<Vec<MailboxMessage>>), Problem> {
    mailbox::check(&state)?;
    let mut conn = state.db.pool().acquire().await?;
    let kept = match &params.to {
        Some(address) => store::mailbox::newest_to(&mut conn, address, mailbox::LIMIT).await?,
        None => store::mailbox::newest(&mut conn, mailbox::LIMIT).await?,
    };
    let messages = kept
        .into_iter()
        .map(|mail| MailboxMessage {
            id: mail.id,
            to: mail.recipient,
            subject: mail.subject,
            text: mail.text,
            html: mail.html,
            sent_at: mail.sent_at,
        })
        .collect();
    Ok((
        [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))],
        Json(messages),
    ))
}
