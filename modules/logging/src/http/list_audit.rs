//! `GET /api/v1/audit`: the audit trail, newest first.

use axum::extract::State as Given;
use kernel::{
    Json, PagedQuery, Problem,
    page::{Page, PageParams},
};
use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{SearchError, audit_filter::AuditFilterParams, filters::Checks, within};
use crate::{
    State,
    domain::trace,
    store::{
        audit::{self, Filter, Row},
        search::{self, Way},
    },
};

/// Something that happened: who did what to what, and from where.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditEntry {
    /// Its number in the chain, dense from 1.
    seq: i64,
    #[serde(with = "time::serde::rfc3339")]
    time: OffsetDateTime,
    /// The module that tells it.
    publisher: String,
    event_id: Uuid,
    /// The event's type.
    action: String,
    /// Absent when nobody was signed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_behalf_of: Option<String>,
    /// The event's subject.
    target: String,
    context: AuditContext,
    /// The event's data; secrets in it are sealed. Absent once erased.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    /// Its data and the client's address and program were erased. That it happened was not.
    erased: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditContext {
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    correlation_id: String,
    /// The event whose handling led to this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    causation_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
}

impl From<Row> for AuditEntry {
    fn from(row: Row) -> Self {
        Self {
            seq: row.seq,
            time: row.time,
            publisher: row.publisher,
            event_id: row.event_id,
            action: row.action,
            actor: row.actor,
            on_behalf_of: row.on_behalf_of,
            target: row.target,
            context: AuditContext {
                trace_id: row.trace_id.map(trace::show_trace_id),
                correlation_id: row.correlation_id,
                causation_id: row.causation_id,
                client_address: row.client_address,
                user_agent: row.user_agent,
            },
            data: row.data.map(|data| data.0),
            erased: row.erased,
        }
    }
}

/// Lists the audit trail, newest first.
///
/// Every business event of every module is in it, in the order in which it was entered.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    params(AuditFilterParams, PageParams),
    responses(
        (status = 200, description = "A page of entries", body = Page<AuditEntry>),
        (status = 401, description = "Not signed in", body = Problem),
        (status = 403, description = "Not an administrator", body = Problem),
        (status = 422, description = "A parameter is not valid", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
        (status = 504, description = "`query-too-slow`: narrow it", body = Problem),
    )
)]
#[tracing::instrument(name = "logging.list_audit", skip_all)]
pub(crate) async fn list_audit(
    Given(state): Given<State>,
    PagedQuery(params, page): PagedQuery<AuditFilterParams>,
) -> Result<Json<Page<AuditEntry>>, Problem> {
    let limit = page.limit()?;
    let before = page.cursor::<i64>()?;
    let filter = params.read(Checks::default())?;
    let rows = within(
        state.search_timeout,
        find(&state, &filter, before, limit + 1),
    )
    .await?;
    Ok(Json(Page::from_rows(
        rows,
        limit,
        |row| row.seq,
        AuditEntry::from,
    )))
}

/// Collects a range of time when it is shorter than what was entered since.
fn way(filter: &Filter, now: OffsetDateTime) -> Way {
    match (filter.from, filter.to) {
        (Some(from), Some(to)) if to - from < now - to => Way::Collect,
        _ => Way::GoBack,
    }
}

pub(super) async fn find(
    state: &State,
    filter: &Filter,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Row>, SearchError> {
    let mut tx = state.db.begin().await?;
    search::prepare(
        &mut tx,
        state.search_timeout,
        way(filter, state.world.now()),
    )
    .await?;
    let rows = audit::newest(&mut tx, filter, before, limit).await?;
    tx.rollback().await?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_short_range_long_ago_is_collected() {
        let now = datetime!(2026-05-02 12:00 UTC);
        let (march, april) = (
            datetime!(2026-03-01 0:00 UTC),
            datetime!(2026-04-01 0:00 UTC),
        );
        let way = |from, to| {
            way(
                &Filter {
                    from,
                    to,
                    ..Filter::default()
                },
                now,
            )
        };
        assert_eq!(way(Some(march), Some(april)), Way::Collect);
        assert_eq!(way(Some(march), Some(now)), Way::GoBack);
        assert_eq!(way(Some(march), None), Way::GoBack);
        assert_eq!(way(None, Some(april)), Way::GoBack);
        assert_eq!(way(None, None), Way::GoBack);
    }
}
