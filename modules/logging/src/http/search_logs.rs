//! `GET /api/v1/logs`: log records, newest first.

use axum::extract::State as Given;
use kernel::{
    Json, PagedQuery, Problem,
    page::{Page, PageParams},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::{Duration, OffsetDateTime};
use utoipa::{IntoParams, ToSchema};

use super::{SearchError, filters::Checks, within};
use crate::{
    State,
    domain::{level::Level, range::TimeRange, trace},
    store::{
        record_search::{self, Filter, Row},
        search::{self, Way},
    },
};

/// Every search has a range: this much, unless told.
const DEFAULT_RANGE: Duration = Duration::DAY;
/// Records of another process may be ahead of this one's clock, by as much as is stored.
const MAX_AHEAD: Duration = Duration::DAY;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SearchLogsParams {
    /// The module, or the host; of records from outside, the service: `shop`, `shop/checkout`.
    service: Option<String>,
    /// This level and what matters more.
    level: Option<Level>,
    /// Written at or after (RFC 3339); a day before `to` unless told.
    #[serde(default, with = "time::serde::rfc3339::option")]
    from: Option<OffsetDateTime>,
    /// Written before (RFC 3339); no bound unless told.
    #[serde(default, with = "time::serde::rfc3339::option")]
    to: Option<OffsetDateTime>,
    /// Occurs in the message or in the fields, whatever the case; 1 to 256 characters.
    text: Option<String>,
    /// 32 lowercase hexadecimal digits.
    trace_id: Option<String>,
}

/// What a process wrote to its log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogEntry {
    id: i64,
    #[serde(with = "time::serde::rfc3339")]
    time: OffsetDateTime,
    /// The time that the record claims, if it is too far off to be true; `time` is then when it was
    /// stored.
    #[serde(
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    skewed_time: Option<OffsetDateTime>,
    level: Level,
    service: String,
    /// The Rust path it was written in, or what stands for one elsewhere.
    target: String,
    message: String,
    #[schema(value_type = Object)]
    fields: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
}

impl From<Row> for LogEntry {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            time: row.time,
            skewed_time: row.skewed_time,
            level: Level::of_severity(row.level),
            service: row.service,
            target: row.target,
            message: row.message,
            fields: row.fields.0,
            trace_id: row.trace_id.map(trace::show_trace_id),
            span_id: row.span_id.map(trace::show_span_id),
        }
    }
}

/// Where a page ended: microseconds since 1970, and the id.
type Cursor = (i64, i64);

fn cursor_of(row: &Row) -> Cursor {
    (
        row.time.unix_timestamp() * 1_000_000 + i64::from(row.time.microsecond()),
        row.id,
    )
}

fn time_of(cursor: Cursor) -> Option<OffsetDateTime> {
    let nanoseconds = i128::from(cursor.0) * 1_000;
    // Within what PostgreSQL can hold: cursors can be forged.
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds)
        .ok()
        .filter(|time| time.year() > 0)
}

/// Searches log records, newest first.
///
/// The newest records are looked through first. What is rare in a long range of time may take too
/// long to find: the search is then given up.
#[utoipa::path(
    get,
    path = "/api/v1/logs",
    params(SearchLogsParams, PageParams),
    responses(
        (status = 200, description = "A page of records", body = Page<LogEntry>),
        (status = 401, description = "Not signed in", body = Problem),
        (status = 403, description = "Not an administrator", body = Problem),
        (status = 422, description = "A parameter is not valid", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
        (status = 504, description = "The search took too long: narrow it", body = Problem),
    )
)]
#[tracing::instrument(name = "logging.search_logs", skip_all)]
pub(crate) async fn search_logs(
    Given(state): Given<State>,
    PagedQuery(params, page): PagedQuery<SearchLogsParams>,
) -> Result<Json<Page<LogEntry>>, Problem> {
    let now = state.world.now();
    let limit = page.limit()?;
    let mut checks = Checks::default();
    let to = params.to.unwrap_or(now + MAX_AHEAD);
    let from = params
        .from
        .unwrap_or(params.to.unwrap_or(now).saturating_sub(DEFAULT_RANGE));
    if from >= to {
        checks.refuse("from", "must be before to");
    }
    let before = page
        .cursor::<Cursor>()?
        .map(|cursor| (time_of(cursor), cursor.1));
    let before = match before {
        Some((None, _)) => {
            checks.refuse("cursor", "is not one that this list gave");
            None
        }
        Some((Some(time), id)) => Some((time, id)),
        None => None,
    };
    let filter = Filter {
        service: checks.text("service", params.service, 128),
        level: params.level,
        trace_id: checks.trace_id("trace_id", params.trace_id.as_deref()),
        text: checks.text("text", params.text, 256),
    };
    checks.done()?;

    // Nothing after the last page's end need be looked at again.
    let to = before.map_or(to, |(time, _)| {
        to.min(time.saturating_add(Duration::MICROSECOND))
    });
    let range = TimeRange { from, to };
    let search = find(&state, &filter, range, before, limit + 1);
    let rows = within(state.search_timeout, search).await?;
    Ok(Json(Page::from_rows(
        rows,
        limit,
        cursor_of,
        LogEntry::from,
    )))
}

async fn find(
    state: &State,
    filter: &Filter,
    range: TimeRange,
    before: Option<(OffsetDateTime, i64)>,
    limit: i64,
) -> Result<Vec<Row>, SearchError> {
    let mut tx = state.db.begin().await?;
    search::prepare(&mut tx, state.search_timeout, Way::GoBack).await?;
    // Few records belong to a trace, and the index that finds them is read whole each time.
    let pieces: Vec<_> = match filter.trace_id {
        Some(_) => vec![range],
        None => range.newest_first(state.world.now()).collect(),
    };
    let mut rows: Vec<Row> = Vec::new();
    for piece in pieces {
        let room = limit - i64::try_from(rows.len()).unwrap_or(limit);
        if room <= 0 {
            break;
        }
        rows.extend(record_search::newest(&mut tx, filter, piece, before, room).await?);
    }
    tx.rollback().await?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn cursors_name_a_moment_and_forged_ones_do_not() {
        let time = datetime!(2026-05-02 12:00:00.123456 UTC);
        let row = Row {
            id: 9,
            time,
            skewed_time: None,
            level: 9,
            service: String::new(),
            target: String::new(),
            message: String::new(),
            fields: sqlx::types::Json(RawValue::from_string("{}".into()).unwrap()),
            trace_id: None,
            span_id: None,
        };
        assert_eq!(time_of(cursor_of(&row)), Some(time));
        for forged in [i64::MAX, i64::MIN, -100_000_000_000_000_000] {
            assert_eq!(time_of((forged, 1)), None);
        }
    }
}
