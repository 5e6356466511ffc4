//! `GET /api/v1/audit`: the audit trail, newest first.

use axum::extract::State as Given;
use kernel::{
    Json, PagedQuery, Problem,
    event::family_of,
    page::{Page, PageParams},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{SearchError, filters::Checks, within};
use crate::{
    State,
    domain::trace,
    store::{
        audit::{self, Filter, Row},
        search::{self, Way},
    },
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListAuditParams {
    /// Who did it: `user:<id>`, `service:<id>` or `system`.
    actor: Option<String>,
    /// An event type, with its version or, for all versions, without.
    action: Option<String>,
    /// What it was done to: the event's subject.
    target: Option<String>,
    /// 32 lowercase hexadecimal digits.
    trace_id: Option<String>,
    /// Happened at or after (RFC 3339).
    #[serde(default, with = "time::serde::rfc3339::option")]
    from: Option<OffsetDateTime>,
    /// Happened before (RFC 3339).
    #[serde(default, with = "time::serde::rfc3339::option")]
    to: Option<OffsetDateTime>,
}

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
    params(ListAuditParams, PageParams),
    responses(
        (status = 200, description = "A page of entries", body = Page<AuditEntry>),
        (status = 401, description = "Not signed in", body = Problem),
        (status = 403, description = "Not an administrator", body = Problem),
        (status = 422, description = "A parameter is not valid", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
        (status = 504, description = "The search took too long: narrow it", body = Problem),
    )
)]
#[tracing::instrument(name = "logging.list_audit", skip_all)]
pub(crate) async fn list_audit(
    Given(state): Given<State>,
    PagedQuery(params, page): PagedQuery<ListAuditParams>,
) -> Result<Json<Page<AuditEntry>>, Problem> {
    let limit = page.limit()?;
    let before = page.cursor::<i64>()?;
    let mut checks = Checks::default();
    if let (Some(from), Some(to)) = (params.from, params.to)
        && from >= to
    {
        checks.refuse("from", "must be before to");
    }
    let (action_stem, action) = match checks.text("action", params.action, 128) {
        Some(action) => versions_of(action),
        None => (None, None),
    };
    let filter = Filter {
        actor: checks.text("actor", params.actor, 256),
        action_stem,
        action,
        target: checks.text("target", params.target, 256),
        trace_id: checks.trace_id("trace_id", params.trace_id.as_deref()),
        from: params.from,
        to: params.to,
    };
    checks.done()?;

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

/// What to look for in the index of types up to the version's number, and the type itself if one
/// version is asked for.
fn versions_of(action: String) -> (Option<String>, Option<String>) {
    let family = family_of(&action);
    let stem = Some(format!("{family}.v"));
    if family.len() == action.len() {
        (stem, None)
    } else {
        (stem, Some(action))
    }
}

/// Collects a range of time when it is shorter than what was entered since.
fn way(filter: &Filter, now: OffsetDateTime) -> Way {
    match (filter.from, filter.to) {
        (Some(from), Some(to)) if to - from < now - to => Way::Collect,
        _ => Way::GoBack,
    }
}

async fn find(
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

    #[test]
    fn a_type_without_version_stands_for_all_of_them() {
        let stem = Some("identity.user.registered.v".to_owned());
        assert_eq!(
            versions_of("identity.user.registered".into()),
            (stem.clone(), None)
        );
        let one = "identity.user.registered.v12".to_owned();
        assert_eq!(versions_of(one.clone()), (stem, Some(one)));
    }
}
