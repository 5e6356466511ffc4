//! `GET /api/v1/logs`: log records, newest first.

use axum::extract::State as Given;
use kernel::{
    Json, PagedQuery, Problem,
    page::{Page, PageParams},
};
use serde::Serialize;
use serde_json::value::RawValue;
use time::{Duration, OffsetDateTime};
use utoipa::ToSchema;

use super::{
    SearchError,
    filters::Checks,
    log_filter::{LogFilterParams, Search},
    within,
};
use crate::{
    State,
    domain::{level::Level, range::TimeRange, trace},
    store::{
        record_search::{self, Place, Row},
        search::{self, Way},
    },
};

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
pub(super) type Cursor = (i64, i64);

pub(super) fn cursor_of(row: &Row) -> Cursor {
    (
        row.time.unix_timestamp() * 1_000_000 + i64::from(row.time.microsecond()),
        row.id,
    )
}

/// Nothing for one that was forged.
pub(super) fn place_of(cursor: Cursor) -> Option<Place> {
    let nanoseconds = i128::from(cursor.0) * 1_000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok()?;
    // Within what PostgreSQL can hold.
    (time.year() > 0).then_some((time, cursor.1))
}

/// Searches log records, newest first.
///
/// The newest records are looked through first. What is rare in a long range of time may take too
/// long to find: the search is then given up.
#[utoipa::path(
    get,
    path = "/api/v1/logs",
    params(LogFilterParams, PageParams),
    responses(
        (status = 200, description = "A page of records", body = Page<LogEntry>),
        (status = 401, description = "Not signed in", body = Problem),
        (status = 403, description = "Not an administrator", body = Problem),
        (status = 422, description = "A parameter is not valid", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
        (status = 504, description = "`query-too-slow`: narrow it", body = Problem),
    )
)]
#[tracing::instrument(name = "logging.search_logs", skip_all)]
pub(crate) async fn search_logs(
    Given(state): Given<State>,
    PagedQuery(params, page): PagedQuery<LogFilterParams>,
) -> Result<Json<Page<LogEntry>>, Problem> {
    let limit = page.limit()?;
    let mut checks = Checks::default();
    let before = page.cursor::<Cursor>()?.and_then(|cursor| {
        let place = place_of(cursor);
        if place.is_none() {
            checks.refuse("cursor", "is not one that this list gave");
        }
        place
    });
    let search = params.read(state.world.now(), state.retention_days, checks)?;
    let rows = within(
        state.search_timeout,
        newest(&state, &search, before, limit + 1),
    );
    Ok(Json(Page::from_rows(
        rows.await?,
        limit,
        cursor_of,
        LogEntry::from,
    )))
}

/// The newest that match, before a place.
pub(super) async fn newest(
    state: &State,
    search: &Search,
    before: Option<Place>,
    limit: i64,
) -> Result<Vec<Row>, SearchError> {
    let filter = &search.filter;
    let TimeRange { from, to } = search.range;
    // Nothing after the last page's end need be looked at again.
    let to = before.map_or(to, |(time, _)| {
        to.min(time.saturating_add(Duration::MICROSECOND))
    });
    let range = TimeRange { from, to };
    let mut tx = state.db.begin().await?;
    search::prepare(&mut tx, state.search_timeout, Way::GoBack).await?;
    // Few records belong to a trace, and the index that finds them is read whole each time.
    let pieces: Vec<_> = if filter.has_trace() {
        vec![range]
    } else {
        range.newest_first(state.world.now()).collect()
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

/// The oldest that match after a place, oldest first: the way back.
pub(super) async fn newer(
    state: &State,
    search: &Search,
    after: Place,
    limit: i64,
) -> Result<Vec<Row>, SearchError> {
    let TimeRange { from, to } = search.range;
    let range = TimeRange {
        from: from.max(after.0),
        to,
    };
    let mut tx = state.db.begin().await?;
    search::prepare(&mut tx, state.search_timeout, Way::GoBack).await?;
    let mut rows: Vec<Row> = Vec::new();
    for piece in range.oldest_first() {
        let room = limit - i64::try_from(rows.len()).unwrap_or(limit);
        if room <= 0 {
            break;
        }
        let found = record_search::oldest(&mut tx, &search.filter, piece, Some(after), room);
        rows.extend(found.await?);
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
        assert_eq!(place_of(cursor_of(&row)), Some((time, 9)));
        for forged in [i64::MAX, i64::MIN, -100_000_000_000_000_000] {
            assert_eq!(place_of((forged, 1)), None);
        }
    }
}
