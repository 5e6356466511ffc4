//! Searching log records.

use serde_json::value::RawValue;
use sqlx::{PgConnection, Postgres, QueryBuilder, types::Json};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::{
    domain::{
        MAX_BATCH_RECORDS,
        level::Level,
        pattern::{containing, containing_in_json},
        query::{Term, What},
        range::TimeRange,
    },
    tail::Stored,
};

/// What to look for; a filter that is not set lets everything pass.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// This level and what matters more.
    pub(crate) level: Option<Level>,
    pub(crate) terms: Vec<Term>,
}

impl Filter {
    /// Is it about one trace?
    pub(crate) fn has_trace(&self) -> bool {
        let traces = |term: &Term| !term.negated && matches!(term.what, What::Trace(_));
        self.terms.iter().any(traces)
    }

    /// Adds its conditions after others. Built at run time: a statement for all filters would test
    /// every record for each of them.
    fn conditions(&self, sql: &mut QueryBuilder<Postgres>) {
        if let Some(level) = self.level {
            sql.push(" AND level >= ").push_bind(level.severity());
        }
        for Term { negated, what } in &self.terms {
            sql.push(if *negated { " AND NOT (" } else { " AND (" });
            match what {
                What::Service(service) => {
                    sql.push("service = ").push_bind(service.clone());
                }
                // Only the bare comparison finds its index; most records have no trace.
                What::Trace(id) if *negated => {
                    sql.push("coalesce(trace_id = ").push_bind(*id);
                    sql.push(", false)");
                }
                What::Trace(id) => {
                    sql.push("trace_id = ").push_bind(*id);
                }
                What::Text(text) => {
                    sql.push("message ILIKE ").push_bind(containing(text));
                    sql.push(" OR fields::text ILIKE ");
                    sql.push_bind(containing_in_json(text));
                }
                What::Field { path, value } => {
                    // The text of the fields is compared first: to take JSON apart costs more.
                    sql.push("coalesce(fields::text LIKE ");
                    sql.push_bind(containing_in_json(value));
                    sql.push(" AND (fields ->> ").push_bind(path.clone());
                    sql.push(" = ").push_bind(value.clone());
                    let parts: Vec<_> = path.split('.').map(str::to_owned).collect();
                    sql.push(" OR fields #>> ").push_bind(parts);
                    sql.push(" = ").push_bind(value.clone()).push("), false)");
                }
            }
            sql.push(")");
        }
    }
}

#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) time: OffsetDateTime,
    pub(crate) skewed_time: Option<OffsetDateTime>,
    pub(crate) level: i16,
    pub(crate) service: String,
    pub(crate) target: String,
    pub(crate) message: String,
    pub(crate) fields: Json<Box<RawValue>>,
    pub(crate) trace_id: Option<Uuid>,
    pub(crate) span_id: Option<i64>,
}

const COLUMNS: &str = "SELECT id, time, skewed_time, level, service, target, message, fields, \
     trace_id, span_id";

fn select(range: TimeRange, filter: &Filter) -> QueryBuilder<Postgres> {
    select_with("", range, filter)
}

fn select_with(more: &str, range: TimeRange, filter: &Filter) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push(more);
    sql.push(" FROM logging.records WHERE ");
    within(&mut sql, range);
    filter.conditions(&mut sql);
    sql
}

fn within(sql: &mut QueryBuilder<Postgres>, range: TimeRange) {
    sql.push("time >= ").push_bind(range.from);
    sql.push(" AND time < ").push_bind(range.to);
}

/// Where a page ends: the time and the id of a record.
pub(crate) type Place = (OffsetDateTime, i64);

/// The newest records of the range, before a place.
pub(crate) async fn newest(
    conn: &mut PgConnection,
    filter: &Filter,
    range: TimeRange,
    before: Option<Place>,
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    let mut sql = select(range, filter);
    if let Some((time, id)) = before {
        sql.push(" AND (time, id) < (").push_bind(time);
        sql.push(", ").push_bind(id).push(")");
    }
    sql.push(" ORDER BY time DESC, id DESC LIMIT ")
        .push_bind(limit);
    sql.build_query_as().fetch_all(conn).await
}

/// The oldest records of the range, after a place: the way back to what is newer.
pub(crate) async fn oldest(
    conn: &mut PgConnection,
    filter: &Filter,
    range: TimeRange,
    after: Option<Place>,
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    let mut sql = select(range, filter);
    if let Some((time, id)) = after {
        sql.push(" AND (time, id) > (").push_bind(time);
        sql.push(", ").push_bind(id).push(")");
    }
    sql.push(" ORDER BY time, id LIMIT ").push_bind(limit);
    sql.build_query_as().fetch_all(conn).await
}

/// The newest records of some batches, oldest first, and how many more of them match.
pub(crate) async fn of_batches(
    conn: &mut PgConnection,
    filter: &Filter,
    batches: &[Stored],
    limit: i64,
) -> Result<(Vec<Row>, u64), sqlx::Error> {
    let ranges = batches.iter().map(|batch| batch.range);
    let from = ranges.clone().map(|range| range.from).min();
    let to = ranges.map(|range| range.to).max();
    let (Some(from), Some(to)) = (from, to) else {
        return Ok((Vec::new(), 0));
    };
    let blocks: Vec<_> = batches.iter().map(|batch| batch.block).collect();
    let range = TimeRange { from, to };
    let mut sql = select_with(", count(*) OVER () AS total", range, filter);
    sql.push(format_args!(" AND id / {MAX_BATCH_RECORDS} = ANY("));
    sql.push_bind(blocks).push(")");
    sql.push(" ORDER BY time DESC, id DESC LIMIT ")
        .push_bind(limit);
    let found: Vec<Counted> = sql.build_query_as().fetch_all(conn).await?;
    let total = found.first().map_or(0, |counted| counted.total);
    let left_out = u64::try_from(total).unwrap_or(0) - found.len() as u64;
    let rows = found.into_iter().rev().map(|counted| counted.row).collect();
    Ok((rows, left_out))
}

/// A record, and how many there are with it.
#[derive(sqlx::FromRow)]
struct Counted {
    #[sqlx(flatten)]
    row: Row,
    total: i64,
}

/// Records of some moments, by level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Count {
    /// When the bucket begins.
    pub(crate) start: OffsetDateTime,
    pub(crate) level: i16,
    pub(crate) records: i64,
}

/// Counts what matches, by time and level. With less than all `percent` of the pages it is an
/// estimate.
pub(crate) async fn histogram(
    conn: &mut PgConnection,
    filter: &Filter,
    range: TimeRange,
    width: Duration,
    percent: f64,
) -> Result<Vec<Count>, sqlx::Error> {
    let mut sql = QueryBuilder::new("SELECT date_bin(make_interval(secs => ");
    sql.push_bind(width.as_seconds_f64());
    sql.push("), time, 'epoch'::timestamptz) AS start, level, (count(*) * 100 / ");
    sql.push_bind(percent);
    sql.push(")::bigint AS records FROM logging.records ");
    if percent < 100.0 {
        // The same pages each time: the picture stays while one looks at it.
        sql.push("TABLESAMPLE SYSTEM (").push_bind(percent);
        sql.push("::real) REPEATABLE (1) ");
    }
    sql.push("WHERE ");
    within(&mut sql, range);
    filter.conditions(&mut sql);
    sql.push(" GROUP BY 1, 2 ORDER BY 1, 2");
    sql.build_query_as().fetch_all(conn).await
}

/// How many bytes of records there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// In a range of time, about: of a day that lies in it in part, its share.
    pub(crate) range: f64,
    /// In all days that the range touches.
    pub(crate) days: f64,
}

pub(crate) async fn size_of(
    conn: &mut PgConnection,
    range: TimeRange,
) -> Result<Size, sqlx::Error> {
    sqlx::query_as!(
        Size,
        r#"SELECT coalesce(sum(bytes), 0)::float8 AS "days!",
                  coalesce(sum(bytes * extract(epoch FROM
                          greatest(least($2, until) - greatest($1, day), '0'))
                      / extract(epoch FROM until - day)), 0)::float8 AS "range!"
             FROM (SELECT pg_relation_size(oid) AS bytes, day,
                          -- The present day is not over.
                          greatest(least(day + interval '1 day', clock_timestamp()),
                                   day + interval '1 second') AS until
                     FROM (SELECT c.oid,
                                  to_date(right(c.relname, 8), 'YYYYMMDD')::timestamp
                                      AT TIME ZONE 'UTC' AS day
                             FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                            WHERE i.inhparent = 'logging.records'::regclass) days
                    WHERE day < $2 AND day + interval '1 day' > $1) sizes"#,
        range.from,
        range.to
    )
    .fetch_one(conn)
    .await
}
