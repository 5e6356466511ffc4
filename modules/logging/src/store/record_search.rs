//! Searching log records.

use serde_json::value::RawValue;
use sqlx::{PgConnection, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{
    level::Level,
    pattern::{containing, containing_in_json},
    range::TimeRange,
};

/// What to look for; a filter that is not set lets everything pass.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) service: Option<String>,
    /// This level and what matters more.
    pub(crate) level: Option<Level>,
    pub(crate) trace_id: Option<Uuid>,
    /// In the message or in the fields, in any case.
    pub(crate) text: Option<String>,
}

#[derive(Debug)]
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

/// The newest records of the range, before the one with this time and id.
pub(crate) async fn newest(
    conn: &mut PgConnection,
    filter: &Filter,
    range: TimeRange,
    before: Option<(OffsetDateTime, i64)>,
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT id, time, skewed_time, level, service, target, message,
                  fields AS "fields: Json<Box<RawValue>>", trace_id, span_id
             FROM logging.records
            WHERE time >= $1 AND time < $2
              AND ($3::timestamptz IS NULL OR (time, id) < ($3, $4))
              AND ($5::text IS NULL OR service = $5)
              AND ($6::smallint IS NULL OR level >= $6)
              AND ($7::uuid IS NULL OR trace_id = $7)
              AND ($8::text IS NULL OR message ILIKE $8 OR fields::text ILIKE $9)
            ORDER BY time DESC, id DESC
            LIMIT $10"#,
        range.from,
        range.to,
        before.map(|(time, _)| time),
        before.map(|(_, id)| id),
        filter.service,
        filter.level.map(Level::severity),
        filter.trace_id,
        filter.text.as_deref().map(containing),
        filter.text.as_deref().map(containing_in_json),
        limit
    )
    .fetch_all(conn)
    .await
}
