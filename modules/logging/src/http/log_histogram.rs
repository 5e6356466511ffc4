//! `GET /api/v1/logs/histogram`: how many records, of which level, when.

use axum::extract::State as Given;
use kernel::{Json, Problem, Query};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{
    SearchError,
    filters::Checks,
    log_filter::{LogFilterParams, Search},
    within,
};
use crate::{
    State,
    domain::{buckets::Buckets, level::Level, range::TimeRange},
    store::{
        record_search::{self, Count},
        search::{self, Way},
    },
};

/// So much is counted as it is: some 100,000 records, which take about a tenth of a second.
const EXACT_BYTES: f64 = 32e6;
/// Of more, so much is looked at, spread evenly.
const SAMPLE_BYTES: f64 = 16e6;

/// How many records match, over time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogHistogram {
    /// The length of a bucket.
    bucket_seconds: i64,
    /// The range holds so many records that a part of them was counted and the rest reckoned from it.
    pub(super) approximate: bool,
    /// Without gaps, oldest first; 60 at most.
    pub(super) buckets: Vec<LogBucket>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct LogBucket {
    #[serde(with = "time::serde::rfc3339")]
    pub(super) start: OffsetDateTime,
    pub(super) error: i64,
    pub(super) warn: i64,
    pub(super) info: i64,
    pub(super) debug: i64,
    pub(super) trace: i64,
}

impl LogBucket {
    fn new(start: OffsetDateTime) -> Self {
        Self {
            start,
            error: 0,
            warn: 0,
            info: 0,
            debug: 0,
            trace: 0,
        }
    }

    pub(super) fn of(&self, level: Level) -> i64 {
        match level {
            Level::Error => self.error,
            Level::Warn => self.warn,
            Level::Info => self.info,
            Level::Debug => self.debug,
            Level::Trace => self.trace,
        }
    }

    fn add(&mut self, level: Level, records: i64) {
        *match level {
            Level::Error => &mut self.error,
            Level::Warn => &mut self.warn,
            Level::Info => &mut self.info,
            Level::Debug => &mut self.debug,
            Level::Trace => &mut self.trace,
        } += records;
    }

    pub(super) fn total(&self) -> i64 {
        Level::ALL.into_iter().map(|level| self.of(level)).sum()
    }
}

/// Counts log records by time and level.
///
/// Takes what the search takes, and counts up to the present unless told. A range with very many records
/// is reckoned from an even part of them.
#[utoipa::path(
    get,
    path = "/api/v1/logs/histogram",
    params(LogFilterParams),
    responses(
        (status = 200, description = "The counts", body = LogHistogram),
        (status = 401, description = "Not signed in", body = Problem),
        (status = 403, description = "Not an administrator", body = Problem),
        (status = 422, description = "A parameter is not valid", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
        (status = 504, description = "`query-too-slow`: narrow it", body = Problem),
    )
)]
#[tracing::instrument(name = "logging.log_histogram", skip_all)]
pub(crate) async fn log_histogram(
    Given(state): Given<State>,
    Query(params): Query<LogFilterParams>,
) -> Result<Json<LogHistogram>, Problem> {
    let now = state.world.now();
    let search = params.read(now, state.retention_days, Checks::default())?;
    Ok(Json(
        within(state.search_timeout, count(&state, &search)).await?,
    ))
}

pub(super) async fn count(state: &State, search: &Search) -> Result<LogHistogram, SearchError> {
    let now = state.world.now();
    let range = TimeRange {
        from: search.range.from,
        to: search
            .range
            .to
            .min(now)
            .max(search.range.from + time::Duration::SECOND),
    };
    let mut tx = state.db.begin().await?;
    search::prepare(&mut tx, state.search_timeout, Way::GoBack).await?;
    let size = record_search::size_of(&mut tx, range).await?;
    // Few records belong to a trace: a part of them tells nothing, and the index finds them all.
    let percent = if size.range <= EXACT_BYTES || search.filter.has_trace() {
        100.0
    } else {
        (100.0 * SAMPLE_BYTES / size.days).min(100.0)
    };
    let buckets = Buckets::of(range);
    let counts =
        record_search::histogram(&mut tx, &search.filter, range, buckets.width, percent).await?;
    tx.rollback().await?;
    Ok(LogHistogram {
        bucket_seconds: buckets.width.whole_seconds(),
        approximate: percent < 100.0,
        buckets: filled(buckets, &counts),
    })
}

/// With those that have nothing.
fn filled(buckets: Buckets, counts: &[Count]) -> Vec<LogBucket> {
    let mut counts = counts.iter().peekable();
    let bucket = |start| {
        let mut bucket = LogBucket::new(start);
        while let Some(count) = counts.next_if(|count| count.start <= start) {
            bucket.add(Level::of_severity(count.level), count.records);
        }
        bucket
    };
    buckets.starts().map(bucket).collect()
}

#[cfg(test)]
mod tests {
    use time::{Duration, macros::datetime};

    use super::*;

    #[test]
    fn gaps_are_filled() {
        let from = datetime!(2026-05-02 12:00 UTC);
        let buckets = Buckets::of(TimeRange {
            from,
            to: from + Duration::seconds(3),
        });
        let count = |second, level, records| Count {
            start: from + Duration::seconds(second),
            level,
            records,
        };
        let filled = filled(buckets, &[count(0, 9, 2), count(0, 17, 1), count(2, 21, 4)]);
        let seen: Vec<_> = filled
            .iter()
            .map(|b| (b.info, b.error, b.total()))
            .collect();
        assert_eq!(seen, [(2, 1, 3), (0, 0, 0), (0, 4, 4)]);
    }
}
