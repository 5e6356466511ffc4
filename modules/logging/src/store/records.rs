//! Storing log records.

use kernel::telemetry::LogRecord;
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};

use crate::{
    domain::{MAX_BATCH_RECORDS, level::Level, trace},
    store::binary_copy::Rows,
};

/// Sent at a time: enough that the number of messages does not matter, little beside the records
/// themselves.
const CHUNK_BYTES: usize = 128 * 1024;

/// A record may be this far ahead of the database's clock before its time is taken for wrong.
const MAX_AHEAD: Duration = Duration::DAY;

/// A batch that is about to be stored.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// The block that its ids are taken from. A second attempt passes it again.
    pub block: i64,
    /// An earlier attempt stored it: its commit came through, only the answer was lost.
    pub stored: bool,
    /// The database's time.
    pub now: OffsetDateTime,
    /// From here on there are partitions.
    pub opens: OffsetDateTime,
}

impl Batch {
    /// The time that a record is filed under, and the one that it claims if that is another: later than
    /// tomorrow, or before anything that is kept (as from a clock that starts in 1970).
    pub(crate) fn filed_under(
        &self,
        claimed: OffsetDateTime,
    ) -> (OffsetDateTime, Option<OffsetDateTime>) {
        if claimed < self.opens || claimed > self.now.saturating_add(MAX_AHEAD) {
            (self.now, Some(claimed))
        } else {
            (claimed, None)
        }
    }
}

/// Takes a block of ids, or comes back to one, and makes the partitions that are missing since
/// `oldest`. First statement of the transaction that stores the batch.
pub async fn begin_batch(
    conn: &mut PgConnection,
    known_block: Option<i64>,
    oldest: OffsetDateTime,
    keep_days: i32,
) -> Result<Batch, sqlx::Error> {
    sqlx::query_as!(
        Batch,
        r#"SELECT block AS "block!", stored AS "stored!", now AS "now!", opens AS "opens!"
             FROM logging.begin_batch($1, $2, $3)"#,
        known_block,
        oldest,
        keep_days
    )
    .fetch_one(conn)
    .await
}

/// Stores the records of a batch, all or none: one statement.
///
/// # Panics
/// When there are more than 8,192 records: ids would run into another batch's.
pub async fn copy(
    conn: &mut PgConnection,
    batch: &Batch,
    records: &[LogRecord],
) -> Result<(), sqlx::Error> {
    assert!(
        records.len() <= MAX_BATCH_RECORDS,
        "a batch has at most a block of records"
    );
    let mut copy = conn
        .copy_in_raw(
            "COPY logging.records (id, time, skewed_time, trace_id, span_id, level, service,
                                   target, message, fields)
             FROM STDIN (FORMAT binary)",
        )
        .await?;
    let mut rows = Rows::new(10);
    let first_id = batch.block * MAX_BATCH_RECORDS as i64;
    for (id, record) in (first_id..).zip(records) {
        write(&mut rows, id, batch, record);
        if rows.len() >= CHUNK_BYTES {
            copy.send(rows.take()).await?;
        }
    }
    rows.end();
    copy.send(rows.take()).await?;
    copy.finish().await?;
    Ok(())
}

/// Since when a batch needs partitions. PostgreSQL cannot hold every time that a record can claim.
/// Nothing when there are no records.
pub fn oldest(records: &[LogRecord], now: OffsetDateTime) -> Option<OffsetDateTime> {
    let oldest = records.iter().map(|record| record.time).min()?;
    let epoch = OffsetDateTime::UNIX_EPOCH;
    Some(oldest.clamp(epoch, now.max(epoch)))
}

/// The data itself is at fault (SQLSTATE classes 22, data exception, and 54, limit exceeded): the
/// same batch fails for ever, and must not hold up all that comes after it.
pub fn is_refusal(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code.starts_with("22") || code.starts_with("54"))
}

fn write(rows: &mut Rows, id: i64, batch: &Batch, record: &LogRecord) {
    let (time, skewed) = batch.filed_under(record.time);
    rows.row();
    rows.big(id);
    rows.time(time);
    rows.optional(skewed, Rows::time);
    rows.optional(
        record.trace_id.as_deref().and_then(trace::parse_trace_id),
        Rows::uuid,
    );
    rows.optional(
        record.span_id.as_deref().and_then(trace::parse_span_id),
        Rows::big,
    );
    rows.small(Level::from(record.level).severity());
    rows.text(&record.service);
    rows.text(&record.target);
    rows.text(&record.message);
    rows.json(&record.fields);
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_time_that_cannot_be_is_kept_but_not_filed_under() {
        let now = datetime!(2026-05-02 23:59 UTC);
        let opens = datetime!(2026-05-01 00:00 UTC);
        let batch = Batch {
            block: 1,
            stored: false,
            now,
            opens,
        };
        for good in [opens, now, now + Duration::HOUR, now + Duration::DAY] {
            assert_eq!(batch.filed_under(good), (good, None));
        }
        for bad in [
            datetime!(1970-01-01 00:00 UTC),
            datetime!(2100-01-01 00:00 UTC),
            opens - Duration::MICROSECOND,
            now + Duration::DAY + Duration::SECOND,
            datetime!(-9999-01-01 00:00 UTC),
        ] {
            assert_eq!(batch.filed_under(bad), (now, Some(bad)));
        }
    }
}
