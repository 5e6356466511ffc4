//! Log records as lines of JSON (NDJSON): an object each, with `time`, `level`, `message`, `service`,
//! `target`, `trace_id`, `span_id`; whatever else it has is a field.
//!
//! A line becomes a record of OpenTelemetry's and goes the way of those ([`otlp`](crate::otlp)): the
//! same names, bounds and levels. A line that cannot be read is refused alone.

use kernel::telemetry::LogRecord;
use opentelemetry_proto::tonic::{
    common::v1::{
        AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value as Any,
    },
    logs::v1 as otlp,
    resource::v1::Resource,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::{
    domain::trace,
    otlp::{MAX_RECORD_BYTES, MAX_RECORDS, Origin, RESOURCE_BUDGET, Sender},
};

/// Of so many lines is told what is wrong; the rest is counted.
const MAX_TOLD: usize = 100;

#[derive(Debug, thiserror::Error)]
#[error("a request has {MAX_RECORDS} lines at most")]
pub(crate) struct TooMany;

/// What the lines hold.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pub(crate) records: Vec<LogRecord>,
    pub(crate) rejected: i32,
    /// The number of a line, from 1, and what is wrong with it.
    pub(crate) faults: Vec<(usize, String)>,
}

#[derive(Deserialize)]
struct Line {
    message: String,
    #[serde(default, with = "time::serde::rfc3339::option")]
    time: Option<OffsetDateTime>,
    #[serde(default)]
    level: Option<String>,
    #[serde(default)]
    service: Option<String>,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    trace_id: Option<String>,
    #[serde(default)]
    span_id: Option<String>,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// Reads lines; empty ones count as lines and are passed over.
pub(crate) fn read(body: &[u8], sender: &Sender, now: OffsetDateTime) -> Result<Lines, TooMany> {
    let mut lines = Lines::default();
    let mut seen = 0;
    for (number, line) in (1..).zip(body.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if seen == MAX_RECORDS {
            return Err(TooMany);
        }
        seen += 1;
        match parse(line) {
            Ok(line) => lines.records.push(line.into_record(sender, now)),
            Err(why) => {
                lines.rejected += 1;
                if lines.faults.len() < MAX_TOLD {
                    lines.faults.push((number, why));
                }
            }
        }
    }
    Ok(lines)
}

fn parse(line: &[u8]) -> Result<Line, String> {
    if line.len() > MAX_RECORD_BYTES {
        return Err(format!("it has more than {MAX_RECORD_BYTES} bytes"));
    }
    let line = str::from_utf8(line).map_err(|_| "it is not UTF-8".to_owned())?;
    serde_json::from_str(line).map_err(|error| {
        // A line of a line is always the first.
        error.to_string().replace(" at line 1 column", " at column")
    })
}

impl Line {
    fn into_record(self, sender: &Sender, now: OffsetDateTime) -> LogRecord {
        let attribute = |(key, value): (String, Value)| KeyValue {
            key,
            value: Some(any(value)),
            ..KeyValue::default()
        };
        let service = self
            .service
            .map(|name| ("service.name".to_owned(), name.into()));
        let resource = Resource {
            attributes: service.into_iter().map(attribute).collect(),
            ..Resource::default()
        };
        let mut origin = Origin::new(&resource, sender);
        origin.enter(&InstrumentationScope {
            name: self.target.unwrap_or_default(),
            ..InstrumentationScope::default()
        });
        let trace_id = self.trace_id.as_deref().and_then(trace::parse_trace_id);
        let span_id = self.span_id.as_deref().and_then(trace::parse_span_id);
        let record = otlp::LogRecord {
            severity_text: self.level.unwrap_or_default(),
            body: Some(any(self.message.into())),
            attributes: self.fields.into_iter().map(attribute).collect(),
            trace_id: trace_id
                .map(|id| id.as_bytes().to_vec())
                .unwrap_or_default(),
            span_id: span_id
                .map(|id| id.to_be_bytes().to_vec())
                .unwrap_or_default(),
            ..otlp::LogRecord::default()
        };
        let mut record = origin.map(record, now, &mut { RESOURCE_BUDGET });
        // OpenTelemetry's times begin in 1970 and end in 2554.
        if let Some(time) = self.time {
            record.time = time;
        }
        record
    }
}

/// serde_json bounds the depth of what it reads.
fn any(value: Value) -> AnyValue {
    let value = match value {
        Value::Null => None,
        Value::Bool(bool) => Some(Any::BoolValue(bool)),
        Value::Number(number) => Some(match (number.as_i64(), number.as_f64()) {
            (Some(int), _) => Any::IntValue(int),
            // Beyond 64 bits its digits tell more than what is near it.
            (None, Some(double)) if !number.is_u64() => Any::DoubleValue(double),
            _ => Any::StringValue(number.to_string()),
        }),
        Value::String(text) => Some(Any::StringValue(text)),
        Value::Array(values) => Some(Any::ArrayValue(ArrayValue {
            values: values.into_iter().map(any).collect(),
        })),
        Value::Object(values) => {
            let pair = |(key, value)| KeyValue {
                key,
                value: Some(any(value)),
                ..KeyValue::default()
            };
            Some(Any::KvlistValue(KeyValueList {
                values: values.into_iter().map(pair).collect(),
            }))
        }
    };
    AnyValue { value }
}

#[cfg(test)]
mod tests {
    use kernel::Principal;
    use proptest::prelude::*;
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-05-02 12:00 UTC);

    fn lines(body: &[u8]) -> Lines {
        let principal = Principal::Service {
            id: "shop".to_owned(),
            scopes: vec!["logs:write".to_owned()],
        };
        let sender = Sender::new(&principal, &["identity".to_owned()]);
        read(body, &sender, NOW).unwrap()
    }

    #[test]
    fn a_line_is_a_record() {
        let line = json!({
            "time": "2026-05-02T11:59:00Z", "level": "warning", "message": "the till is open",
            "service": "till", "target": "shop.Till", "span_id": "00f067aa0ba902b7",
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "cents": 1999, "half": 0.5, "many": u64::MAX, "none": null, "nested": {"list": [true]},
        });
        let read = lines(line.to_string().as_bytes());
        let record = &read.records[0];
        assert_eq!(record.time, datetime!(2026-05-02 11:59 UTC));
        assert_eq!(record.level, tracing::Level::WARN);
        assert_eq!(
            (&*record.service, &*record.target),
            ("shop/till", "shop.Till")
        );
        assert_eq!(record.trace_id.as_deref(), line["trace_id"].as_str());
        assert_eq!(record.span_id.as_deref(), line["span_id"].as_str());
        let fields = json!({
            "cents": 1999, "half": 0.5, "many": u64::MAX.to_string(), "none": null,
            "nested": {"list": [true]}, "severity_text": "warning",
        });
        assert_eq!(Value::Object(record.fields.clone()), fields);

        let record = &lines(br#"{"message":"a\u0000b","service":"identity"}"#).records[0];
        assert_eq!(record.message, "a\u{2400}b");
        assert_eq!(record.service, "shop/identity");
        assert_eq!((record.time, record.level), (NOW, tracing::Level::INFO));
    }

    #[test]
    fn a_bad_line_is_refused_alone() {
        let deep = format!(
            r#"{{"message":"x","a":{}{}}}"#,
            "[".repeat(500),
            "]".repeat(500)
        );
        let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(MAX_RECORD_BYTES));
        let body = [
            &br#"{"message":"one"}"#[..],
            b"",
            b"no JSON",
            b"{\"message\":\"\xff\"}\r",
            br#"{"level":"info"}"#,
            br#"{"message":7}"#,
            br#"{"message":"x","time":"yesterday"}"#,
            br#"{"message":"\ud800"}"#,
            deep.as_bytes(),
            long.as_bytes(),
            b"{\"message\":\"two\"}\r",
        ]
        .join(&b'\n');
        let read = lines(&body);
        let messages: Vec<_> = read.records.iter().map(|r| &*r.message).collect();
        assert_eq!(messages, ["one", "two"]);
        let refused: Vec<_> = read.faults.iter().map(|(line, _)| *line).collect();
        assert_eq!(refused, [3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(read.rejected, 8);
        assert_eq!(read.faults[1].1, "it is not UTF-8");
        assert!(read.faults[2].1.starts_with("missing field `message`"));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(body: Vec<u8>) {
            let read = lines(&body);
            let lines = body.split(|b| *b == b'\n').filter(|l| !l.trim_ascii().is_empty());
            let refused = usize::try_from(read.rejected).unwrap();
            prop_assert_eq!(read.records.len() + refused, lines.count());
        }
    }
}
