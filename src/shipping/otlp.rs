//! Log records as OTLP writes them: the way back of what the module logging reads.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use kernel::telemetry::LogRecord;
use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    common::v1::{
        AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value as Any,
    },
    logs::v1 as otlp,
    resource::v1::Resource,
};
use prost::Message;
use serde_json::Value;
use tracing::Level;

/// A request that grows record by record, in their order: a new resource where the service changes,
/// a new scope where the target does.
#[derive(Default)]
pub(super) struct Request {
    message: ExportLogsServiceRequest,
    service: String,
    target: String,
}

impl Request {
    /// Returns about how many bytes it takes.
    pub(super) fn add(&mut self, record: LogRecord) -> usize {
        let resources = &mut self.message.resource_logs;
        if resources.is_empty() || self.service != record.service {
            self.service = record.service.clone().into_owned();
            resources.push(otlp::ResourceLogs {
                resource: Some(Resource {
                    attributes: vec![pair("service.name", self.service.as_str().into())],
                    ..Resource::default()
                }),
                ..otlp::ResourceLogs::default()
            });
        }
        let scopes = &mut resources.last_mut().expect("there is one now").scope_logs;
        if scopes.is_empty() || self.target != record.target {
            self.target = record.target.clone().into_owned();
            scopes.push(otlp::ScopeLogs {
                scope: Some(InstrumentationScope {
                    name: self.target.clone(),
                    ..InstrumentationScope::default()
                }),
                ..otlp::ScopeLogs::default()
            });
        }
        let record = encode(record);
        let bytes = record.encoded_len();
        let records = &mut scopes.last_mut().expect("there is one now").log_records;
        records.push(record);
        bytes
    }

    /// As it is sent: protobuf, gzipped.
    pub(super) fn finish(self) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&self.message.encode_to_vec())
            .and_then(|()| gzip.finish())
            .expect("memory takes everything")
    }
}

fn encode(record: LogRecord) -> otlp::LogRecord {
    let nanoseconds = record.time.unix_timestamp_nanos();
    otlp::LogRecord {
        time_unix_nano: u64::try_from(nanoseconds).unwrap_or_default(),
        severity_number: match record.level {
            Level::TRACE => 1,
            Level::DEBUG => 5,
            Level::INFO => 9,
            Level::WARN => 13,
            Level::ERROR => 17,
        },
        body: any(Value::String(record.message)),
        attributes: record
            .fields
            .into_iter()
            .map(|(k, v)| pair(&k, v))
            .collect(),
        trace_id: bytes(record.trace_id.as_deref()),
        span_id: bytes(record.span_id.as_deref()),
        ..otlp::LogRecord::default()
    }
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: any(value),
        ..KeyValue::default()
    }
}

fn any(value: Value) -> Option<AnyValue> {
    let value = match value {
        Value::Null => return None,
        Value::Bool(bool) => Any::BoolValue(bool),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(int), _) => Any::IntValue(int),
            // Beyond what OTLP's integers hold: its digits are worth more than a number near it.
            (None, _) if number.is_u64() => Any::StringValue(number.to_string()),
            (None, Some(double)) => Any::DoubleValue(double),
            (None, None) => return None,
        },
        Value::String(text) => Any::StringValue(text),
        Value::Array(values) => Any::ArrayValue(ArrayValue {
            values: values
                .into_iter()
                .map(|value| any(value).unwrap_or_default())
                .collect(),
        }),
        Value::Object(values) => Any::KvlistValue(KeyValueList {
            values: values.into_iter().map(|(k, v)| pair(&k, v)).collect(),
        }),
    };
    Some(AnyValue { value: Some(value) })
}

/// Hex digits as the bytes they stand for; none when they are something else.
fn bytes(hex: Option<&str>) -> Vec<u8> {
    let digits = hex.unwrap_or_default().as_bytes();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    };
    digits
        .chunks(2)
        .map(byte)
        .collect::<Option<_>>()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_bytes_and_numbers_keep_their_digits() {
        assert_eq!(bytes(Some("00f067aa0ba902b7"))[..3], [0x00, 0xf0, 0x67]);
        assert_eq!(bytes(Some("no hex")), [0_u8; 0]);
        assert_eq!(bytes(None), [0_u8; 0]);
        for (value, expected) in [
            (json!(-1), Any::IntValue(-1)),
            (
                json!(u64::MAX),
                Any::StringValue("18446744073709551615".into()),
            ),
            (json!(0.5), Any::DoubleValue(0.5)),
            (json!("x"), Any::StringValue("x".into())),
        ] {
            assert_eq!(any(value).unwrap().value, Some(expected));
        }
        assert_eq!(any(json!(null)), None);
    }

    #[test]
    fn records_of_one_place_lie_together_and_stay_in_order() {
        let mut request = Request::default();
        for (service, target) in [
            ("a", "a::x"),
            ("a", "a::x"),
            ("a", "a::y"),
            ("b", "a::y"),
            ("a", "a::x"),
        ] {
            request.add(LogRecord {
                target: target.into(),
                ..LogRecord::dropped(
                    time::OffsetDateTime::UNIX_EPOCH,
                    service.into(),
                    Level::INFO,
                    1,
                )
            });
        }
        let shape: Vec<Vec<_>> = (request.message.resource_logs.iter())
            .map(|r| r.scope_logs.iter().map(|s| s.log_records.len()).collect())
            .collect();
        assert_eq!(shape, [vec![2, 1], vec![1], vec![1]]);
    }
}
