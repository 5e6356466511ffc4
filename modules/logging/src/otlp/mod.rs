//! Log records as OpenTelemetry's protocol carries them (OTLP 1.9, "OTLP/HTTP"; the messages are
//! `opentelemetry/proto/logs/v1/logs.proto`), and how they become ours.
//!
//! Requests come from outside and are opened a layer at a time ([`envelope`]): a record is decoded
//! when its turn comes and forgotten when it is mapped ([`record`]), so that some bytes that decode
//! to many times their size do so for one record only, and one bad record is refused alone.

mod envelope;
mod record;
mod sender;
mod value;

use kernel::telemetry::LogRecord;
use time::OffsetDateTime;

pub(crate) use self::{
    envelope::Encoding,
    record::{Origin, RESOURCE_BUDGET},
    sender::Sender,
};
use crate::domain::MAX_BATCH_RECORDS;

/// Records of one request, at most: some times what collectors send at once.
pub(crate) const MAX_RECORDS: usize = 4 * MAX_BATCH_RECORDS;

/// A larger record is refused. Larger than any of ours gets, whose texts are cut.
pub(crate) const MAX_RECORD_BYTES: usize = 1024 * 1024;

/// Why nothing of a request can be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OtlpError {
    #[error("the body is no ExportLogsServiceRequest: {0}")]
    Malformed(String),
    #[error("a request has {MAX_RECORDS} records at most")]
    TooMany,
}

/// What a request holds.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) records: Vec<LogRecord>,
    /// Records that cannot be read, or are too large.
    pub(crate) rejected: i32,
    /// Why, of the first of them.
    pub(crate) reason: Option<String>,
}

/// Reads a whole request. Takes its time: some milliseconds for a megabyte.
pub(crate) fn read(
    encoding: Encoding,
    body: bytes::Bytes,
    sender: &Sender,
    now: OffsetDateTime,
) -> Result<Received, OtlpError> {
    match encoding {
        Encoding::Protobuf => envelope::read::<bytes::Bytes>(&body, sender, now),
        Encoding::Json => envelope::read::<&serde_json::value::RawValue>(&body, sender, now),
    }
}
