//! Log records: each is made once, written to the terminal as a line, and put into a bounded buffer
//! from which the logging module stores it. The buffer never blocks, never feeds on itself and counts
//! what it drops.

mod buffer;
mod layer;
mod line;
mod terminal;

use std::{borrow::Cow, collections::BTreeMap};

use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use tracing::Level;

pub use self::{
    buffer::LogBuffer,
    layer::LogLayer,
    line::Format,
    terminal::{Flush, Terminal},
};

/// A log record as it was written.
#[derive(Clone, Debug, Serialize)]
pub struct LogRecord {
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
    #[serde(serialize_with = "line::lowercase")]
    pub level: Level,
    /// The module, or the host: the crate that the record was written in. Of a record from outside,
    /// the service that sent it.
    pub service: Cow<'static, str>,
    /// The Rust path it was written in, or what another language has in its place.
    pub target: Cow<'static, str>,
    pub message: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
}

/// What was dropped, by service and level.
pub type Dropped = BTreeMap<(Cow<'static, str>, Level), u64>;

impl LogRecord {
    /// The note that records were dropped. It has the service and the level of what it stands for:
    /// whoever would have seen the records sees that they are missing.
    pub fn dropped(
        time: OffsetDateTime,
        service: Cow<'static, str>,
        level: Level,
        count: u64,
    ) -> Self {
        Self {
            time,
            level,
            message: format!("dropped {count} records of service {service}"),
            service,
            target: Cow::Borrowed("logging::dropped"),
            fields: Map::from_iter([("dropped".to_owned(), count.into())]),
            trace_id: None,
            span_id: None,
        }
    }
}

/// Longer messages and fields are cut: one record must not crowd out its neighbours.
pub const MAX_TEXT_BYTES: usize = 16 * 1024;
/// Further fields of a record are left out.
pub const MAX_FIELDS: usize = 64;

/// Text of a record within [`MAX_TEXT_BYTES`], with a word on how long it was. PostgreSQL's text and
/// jsonb cannot hold NUL: it is shown as the symbol for it.
pub fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_TEXT_BYTES);
    let mut kept = text[..end].replace('\0', "\u{2400}");
    if end < text.len() {
        kept.push_str(&format!("… ({} bytes)", text.len()));
    }
    kept
}

tokio::task_local! {
    static SUPPRESSED: ();
}

/// Runs the future with its log records kept out of the buffer (they still reach the terminal):
/// a store that fails must not fill itself with the news of its failing.
pub fn suppressed<F: Future>(future: F) -> impl Future<Output = F::Output> {
    SUPPRESSED.scope((), future)
}
