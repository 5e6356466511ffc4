//! Log records on their way to the logging module: a bounded buffer that never blocks, never feeds
//! on itself and counts what it drops.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{Map, Value};
use time::OffsetDateTime;
use tokio::sync::Notify;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use crate::{
    clock::{Clock, SystemClock},
    context::RequestContext,
};

/// A log record as it was written.
#[derive(Clone, Debug)]
pub struct LogRecord {
    pub time: OffsetDateTime,
    pub level: Level,
    /// The module, or the host: the crate that the record was written in. Of a record from outside,
    /// the service that sent it.
    pub service: Cow<'static, str>,
    /// The Rust path it was written in, or what another language has in its place.
    pub target: Cow<'static, str>,
    pub message: String,
    pub fields: Map<String, Value>,
    pub trace_id: Option<String>,
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

/// Records that wait to be stored, and how many were dropped because too many waited.
pub struct LogBuffer {
    records: Mutex<Vec<LogRecord>>,
    capacity: usize,
    dropped: Mutex<Dropped>,
    dropped_total: AtomicU64,
    filled: Notify,
}

impl LogBuffer {
    pub fn new(capacity: usize) -> Self {
        Self {
            records: Mutex::new(Vec::new()),
            capacity,
            dropped: Mutex::default(),
            dropped_total: AtomicU64::new(0),
            filled: Notify::new(),
        }
    }

    /// Takes what waits, at most `limit` records, oldest first.
    pub fn take(&self, limit: usize) -> Vec<LogRecord> {
        let mut records = self.records.lock().expect("no holder panics");
        let count = limit.min(records.len());
        if count == records.len() {
            return std::mem::take(&mut records);
        }
        records.drain(..count).collect()
    }

    /// What was dropped since this was last asked, by service and level.
    pub fn take_dropped(&self) -> Dropped {
        std::mem::take(&mut *self.dropped.lock().expect("no holder panics"))
    }

    /// What was dropped since the process started.
    pub fn dropped_total(&self) -> u64 {
        self.dropped_total.load(Ordering::Relaxed)
    }

    /// Waits until a record arrives after the buffer was empty, or until a batch is full.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    pub fn len(&self) -> usize {
        self.records.lock().expect("no holder panics").len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn push(&self, record: LogRecord) {
        // The last tenth is kept for warnings and errors: they are shed last.
        let capacity = if record.level <= Level::WARN {
            self.capacity
        } else {
            self.capacity / 10 * 9
        };
        {
            let mut records = self.records.lock().expect("no holder panics");
            if records.len() < capacity {
                records.push(record);
                if records.len() == 1 || records.len().is_multiple_of(1_000) {
                    self.filled.notify_one();
                }
                return;
            }
        }
        self.dropped_total.fetch_add(1, Ordering::Relaxed);
        *self
            .dropped
            .lock()
            .expect("no holder panics")
            .entry((record.service, record.level))
            .or_default() += 1;
    }
}

tokio::task_local! {
    static SUPPRESSED: ();
}

/// Runs the future with its log records kept out of the buffer (they still reach the terminal):
/// a store that fails must not fill itself with the news of its failing.
pub fn suppressed<F: Future>(future: F) -> impl Future<Output = F::Output> {
    SUPPRESSED.scope((), future)
}

/// The `tracing` layer that fills a [`LogBuffer`].
pub struct LogLayer(pub std::sync::Arc<LogBuffer>);

/// Fields of a span, kept for the records written inside it.
struct SpanFields(Map<String, Value>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        context: Context<'_, S>,
    ) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(fields.values));
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        values.record(&mut fields);
        if let Some(known) = span.extensions_mut().get_mut::<SpanFields>() {
            known.0.extend(fields.values);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if SUPPRESSED.try_with(|()| ()).is_ok() {
            return;
        }
        let mut fields = Fields::default();
        if let Some(scope) = context.event_scope(event) {
            for span in scope.from_root() {
                if let Some(known) = span.extensions().get::<SpanFields>() {
                    fields.values.extend(known.0.clone());
                }
            }
        }
        event.record(&mut fields);
        let metadata = event.metadata();
        let (trace_id, span_id) =
            RequestContext::with(|c| (c.trace_id.clone(), c.span_id.clone())).unzip();
        self.0.push(LogRecord {
            time: SystemClock.now(),
            level: *metadata.level(),
            service: Cow::Borrowed(metadata.target().split("::").next().unwrap_or_default()),
            target: Cow::Borrowed(metadata.target()),
            message: fields.message,
            fields: fields.values,
            trace_id,
            span_id,
        });
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    values: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        if self.values.len() < MAX_FIELDS {
            self.values.insert(field.name().to_owned(), value);
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let value = cut(value);
        if field.name() == "message" {
            self.message = value;
        } else {
            self.put(field, Value::String(value));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing_subscriber::prelude::*;

    use super::*;

    #[test]
    fn a_full_buffer_drops_the_least_and_counts() {
        let buffer = Arc::new(LogBuffer::new(10));
        let subscriber = tracing_subscriber::registry().with(LogLayer(Arc::clone(&buffer)));
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..12 {
                tracing::info!(n, "noise");
            }
            tracing::error!("kept");
        });
        let records = buffer.take(100);
        assert_eq!(records.len(), 10);
        assert_eq!(records[9].message, "kept");
        assert_eq!(buffer.dropped_total(), 3);
        assert_eq!(buffer.take_dropped().values().sum::<u64>(), 3);
    }

    #[test]
    fn records_carry_the_fields_of_their_spans() {
        let buffer = Arc::new(LogBuffer::new(10));
        let subscriber = tracing_subscriber::registry().with(LogLayer(Arc::clone(&buffer)));
        tracing::subscriber::with_default(subscriber, || {
            let _span = tracing::info_span!("request", method = "GET").entered();
            tracing::info!(status = 200, "a\0b");
        });
        let record = &buffer.take(1)[0];
        assert_eq!(record.message, "a\u{2400}b");
        assert_eq!(record.fields["method"], "GET");
        assert_eq!(record.fields["status"], 200);
    }
}
