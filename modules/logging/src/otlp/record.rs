//! One record: OpenTelemetry's log data model, as ours.

use kernel::{
    context::hex,
    telemetry::{LogRecord, MAX_FIELDS, cut},
};
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value as Any},
    logs::v1 as otlp,
    resource::v1::Resource,
};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::{Sender, value};
use crate::domain::level::Level;

/// What the records of a scope have in common.
pub(crate) struct Origin {
    service: String,
    target: String,
    /// The resource's attributes: where it ran.
    resource: Vec<(String, Value)>,
    /// Their bytes, about.
    resource_bytes: usize,
}

/// What the resources of a request may add to its records, in bytes. A resource is sent once and
/// stored with each: a body of some kilobytes would become gigabytes.
pub(crate) const RESOURCE_BUDGET: usize = 16 << 20;

impl Origin {
    pub(crate) fn new(resource: &Resource, sender: &Sender) -> Self {
        let claimed = text_of(&resource.attributes, "service.name");
        let attributes: Vec<_> = resource
            .attributes
            .iter()
            .filter(|attribute| attribute.key != "service.name")
            .take(MAX_FIELDS)
            .map(|a| (value::key(&a.key), value::to_json(a.value.clone())))
            .collect();
        let sizes = attributes
            .iter()
            .map(|(key, value)| key.len() + size(value));
        Self {
            resource_bytes: sizes.sum(),
            service: value::key(&sender.service(claimed)),
            target: String::new(),
            resource: attributes,
        }
    }

    /// What follows is of this scope.
    pub(crate) fn enter(&mut self, scope: &InstrumentationScope) {
        self.target = value::key(&scope.name);
    }

    /// `budget` is what is left of [`RESOURCE_BUDGET`]: past it, a record comes without its
    /// resource, which is counted among what was left out.
    pub(crate) fn map(
        &self,
        record: otlp::LogRecord,
        now: OffsetDateTime,
        budget: &mut usize,
    ) -> LogRecord {
        let level = level(record.severity_number, &record.severity_text);
        let target = match &*self.target {
            "" => value::key(text_of(&record.attributes, "code.namespace").unwrap_or_default()),
            name => name.to_owned(),
        };
        let message = match value::to_json(record.body) {
            Value::Null => cut(&record.event_name),
            Value::String(text) => text,
            other => cut(&other.to_string()),
        };
        let time = [record.time_unix_nano, record.observed_time_unix_nano]
            .into_iter()
            .find(|nanoseconds| *nanoseconds > 0)
            .and_then(|ns| OffsetDateTime::from_unix_timestamp_nanos(ns.into()).ok())
            .unwrap_or(now);

        let mut fields = Fields::default();
        for attribute in record.attributes {
            let key = value::key(&attribute.key);
            fields.put(key, || value::to_json(attribute.value));
        }
        // What our five levels cannot tell: FATAL, NOTICE.
        if !record.severity_text.is_empty()
            && !record.severity_text.eq_ignore_ascii_case(level.as_str())
        {
            fields.put("severity_text".into(), || cut(&record.severity_text).into());
        }
        if !record.event_name.is_empty() {
            fields.put("event.name".into(), || cut(&record.event_name).into());
        }
        match budget.checked_sub(self.resource_bytes) {
            Some(left) => {
                *budget = left;
                for (key, value) in &self.resource {
                    fields.put(key.clone(), || value.clone());
                }
            }
            None => fields.left_out += self.resource.len() as u64,
        }
        LogRecord {
            time,
            level,
            service: self.service.clone().into(),
            target: target.into(),
            message,
            fields: fields.done(record.dropped_attributes_count),
            trace_id: id(&record.trace_id, 16),
            span_id: id(&record.span_id, 8),
        }
    }
}

/// The first of a name counts: a record's own before its resource's.
#[derive(Default)]
struct Fields {
    values: Map<String, Value>,
    left_out: u64,
}

impl Fields {
    fn put(&mut self, key: String, value: impl FnOnce() -> Value) {
        if self.values.len() >= MAX_FIELDS {
            self.left_out += 1;
        } else {
            self.values.entry(key).or_insert_with(value);
        }
    }

    /// With OpenTelemetry's own word for attributes that are missing.
    fn done(mut self, left_out_before: u32) -> Map<String, Value> {
        let left_out = self.left_out + u64::from(left_out_before);
        if left_out > 0 {
            self.values
                .insert("dropped_attributes_count".to_owned(), left_out.into());
        }
        self.values
    }
}

/// About as many bytes as it takes.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(size).sum::<usize>() + 16,
        Value::Object(values) => values.iter().map(|(k, v)| k.len() + size(v)).sum::<usize>() + 16,
        _ => 16,
    }
}

fn text_of<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match &attribute.value {
        Some(AnyValue {
            value: Some(Any::StringValue(text)),
        }) => Some(text),
        _ => None,
    }
}

/// By the number; without one (OTLP: 0, "unspecified") by the first letters of the text.
fn level(number: i32, text: &str) -> tracing::Level {
    if number > 0 {
        return Level::of_severity(i16::try_from(number).unwrap_or(i16::MAX)).into();
    }
    let starts = |with: &str| {
        text.get(..with.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(with))
    };
    let any = |starts_of: &[&str]| starts_of.iter().any(|with| starts(with));
    if any(&["err", "fatal", "crit", "alert", "emerg", "panic", "severe"]) {
        tracing::Level::ERROR
    } else if starts("warn") {
        tracing::Level::WARN
    } else if any(&["debug", "fine"]) {
        tracing::Level::DEBUG
    } else if starts("trace") {
        tracing::Level::TRACE
    } else {
        tracing::Level::INFO
    }
}

/// An id of another length is none, and so is one of zeros (W3C Trace Context §3.2.2).
fn id(bytes: &[u8], len: usize) -> Option<String> {
    (bytes.len() == len && bytes.iter().any(|byte| *byte != 0)).then(|| hex(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_come_from_the_number_and_without_one_from_the_text() {
        for (number, text, expected) in [
            (9, "ERROR", tracing::Level::INFO),
            (24, "", tracing::Level::ERROR),
            (i32::MAX, "", tracing::Level::ERROR),
            (0, "Warning", tracing::Level::WARN),
            (0, "CRITICAL", tracing::Level::ERROR),
            (-3, "trace", tracing::Level::TRACE),
            (0, "é", tracing::Level::INFO),
            (0, "", tracing::Level::INFO),
        ] {
            assert_eq!(level(number, text), expected, "{number} {text}");
        }
    }

    #[test]
    fn a_resource_that_is_large_is_not_stored_with_every_record() {
        let text = "x".repeat(RESOURCE_BUDGET / 100);
        let resource = vec![("host.name".to_owned(), Value::String(text))];
        let origin = Origin {
            service: "shop".to_owned(),
            target: String::new(),
            resource_bytes: size(&resource[0].1),
            resource,
        };
        let mut budget = RESOURCE_BUDGET;
        let now = OffsetDateTime::UNIX_EPOCH;
        let fields: Vec<_> = (0..1_000)
            .map(|_| {
                origin
                    .map(otlp::LogRecord::default(), now, &mut budget)
                    .fields
            })
            .collect();
        let with = fields.iter().filter(|f| f.contains_key("host.name"));
        assert_eq!(with.count(), 100);
        assert_eq!(fields[999]["dropped_attributes_count"], 1);
    }
}
