//! From `tracing` to records.

use std::{borrow::Cow, fmt, sync::Arc};

use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use super::{LogBuffer, LogRecord, MAX_FIELDS, SUPPRESSED, Terminal, cut};
use crate::{
    clock::{Clock, SystemClock},
    context::RequestContext,
};

/// The `tracing` layer that fills a [`LogBuffer`], and shows on a terminal what it puts there.
pub struct LogLayer {
    buffer: Arc<LogBuffer>,
    terminal: Option<Terminal>,
}

impl LogLayer {
    pub fn new(buffer: Arc<LogBuffer>, terminal: Option<Terminal>) -> Self {
        Self { buffer, terminal }
    }
}

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
        let record = LogRecord {
            time: SystemClock.now(),
            level: *metadata.level(),
            service: Cow::Borrowed(metadata.target().split("::").next().unwrap_or_default()),
            target: Cow::Borrowed(metadata.target()),
            message: fields.message,
            fields: fields.values,
            trace_id,
            span_id,
        };
        if let Some(terminal) = &self.terminal {
            terminal.show(&record);
        }
        if SUPPRESSED.try_with(|()| ()).is_err() {
            self.buffer.push(record);
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing_subscriber::prelude::*;

    use super::*;

    #[test]
    fn a_full_buffer_drops_the_least_and_counts() {
        let buffer = Arc::new(LogBuffer::new(10));
        let subscriber =
            tracing_subscriber::registry().with(LogLayer::new(Arc::clone(&buffer), None));
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
        let subscriber =
            tracing_subscriber::registry().with(LogLayer::new(Arc::clone(&buffer), None));
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
