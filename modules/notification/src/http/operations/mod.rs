//! What administrators see of deliveries and suppressions, and do to them.

pub(crate) mod count_deliveries;
pub(crate) mod get_delivery;
pub(crate) mod give_up_delivery;
pub(crate) mod lift_suppression;
pub(crate) mod list_deliveries;
pub(crate) mod list_suppressions;
pub(crate) mod retry_delivery;

use axum::http::StatusCode;
use kernel::{Problem, UserId, page::PageParams};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::store::operations::Row;

pub(crate) const ROLE: &str = "admin";

/// A message on its way out, without what it says.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliverySummary {
    pub(super) id: Uuid,
    #[schema(examples("email"))]
    pub(super) channel: String,
    /// Absent when the address has no account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_id: Option<UserId>,
    pub(super) address: String,
    #[schema(examples("welcome"))]
    pub(super) template: String,
    pub(super) locale: String,
    /// `queued`, `sending`, `sent`, `failed`, `expired`, `muted` or `suppressed`.
    #[schema(examples("queued"))]
    pub(super) status: String,
    pub(super) attempts: i32,
    /// Absent when it has ended.
    #[serde(
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) next_attempt_at: Option<OffsetDateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_error: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) expires_at: OffsetDateTime,
    /// Of the request that it goes back to.
    pub(super) trace_id: String,
    /// The request of a service that it is part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) send_id: Option<Uuid>,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) created_at: OffsetDateTime,
    #[serde(
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) finished_at: Option<OffsetDateTime>,
}

impl From<Row> for DeliverySummary {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            channel: row.channel,
            user_id: row.user_id,
            address: row.address,
            template: row.template,
            locale: row.locale,
            status: row.status,
            attempts: row.attempts,
            next_attempt_at: row.finished_at.is_none().then_some(row.next_attempt_at),
            last_error: row.last_error,
            expires_at: row.expires_at,
            trace_id: row.trace_id,
            send_id: row.send_id,
            created_at: row.created_at,
            finished_at: row.finished_at,
        }
    }
}

/// Where a page of a list by time goes on. Microseconds are what the database keeps.
pub(super) type Key = (i64, Uuid);

pub(super) fn key(created_at: OffsetDateTime, id: Uuid) -> Key {
    let microseconds = created_at.unix_timestamp_nanos() / 1_000;
    (i64::try_from(microseconds).unwrap_or(i64::MAX), id)
}

pub(super) fn before(page: &PageParams) -> Result<Option<(OffsetDateTime, Uuid)>, Problem> {
    let key = page.cursor::<Key>()?;
    Ok(key.and_then(|(microseconds, id)| {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(microseconds) * 1_000);
        Some((at.ok()?, id))
    }))
}

/// 409: its state does not allow it.
fn not_possible(detail: &str) -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "delivery-state",
        "The delivery's state does not allow it",
    )
    .detail(detail)
}
