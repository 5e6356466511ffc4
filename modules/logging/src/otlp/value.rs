//! Values of attributes and bodies, as JSON within bounds of depth and size.

use base64::{Engine, prelude::BASE64_STANDARD};
use kernel::telemetry::{MAX_TEXT_BYTES, cut};
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value as Any};
use serde_json::{Map, Number, Value};

/// Lists and maps within each other, at most.
const MAX_DEPTH: usize = 8;
/// Longer keys are cut.
const MAX_KEY_BYTES: usize = 256;
/// Stands for what was left out.
const ELLIPSIS: &str = "…";

/// A value on its own may be as long as any text of a record; one of lists and maps in all.
pub(super) fn to_json(value: Option<AnyValue>) -> Value {
    nested(value, &mut { MAX_TEXT_BYTES }, 0)
}

/// A key without what PostgreSQL cannot hold.
pub(super) fn key(key: &str) -> String {
    key[..key.floor_char_boundary(MAX_KEY_BYTES)].replace('\0', "\u{2400}")
}

/// `room`: bytes that are left, about; every value takes some, so that their number is bounded too.
fn nested(value: Option<AnyValue>, room: &mut usize, depth: usize) -> Value {
    let Some(value) = value.and_then(|value| value.value) else {
        return Value::Null;
    };
    match value {
        Any::StringValue(text) => string(&text, room, depth),
        Any::BytesValue(bytes) => string(&BASE64_STANDARD.encode(bytes), room, depth),
        Any::BoolValue(bool) => bool.into(),
        Any::IntValue(int) => int.into(),
        // JSON has no words for infinity.
        Any::DoubleValue(double) => Number::from_f64(double)
            .map_or_else(|| Value::String(double.to_string()), Value::Number),
        Any::ArrayValue(_) | Any::KvlistValue(_) if depth == MAX_DEPTH => ELLIPSIS.into(),
        Any::ArrayValue(list) => {
            let mut values = Vec::new();
            for value in list.values {
                if !take(room, 8) {
                    values.push(ELLIPSIS.into());
                    break;
                }
                values.push(nested(Some(value), room, depth + 1));
            }
            values.into()
        }
        Any::KvlistValue(list) => {
            let mut values = Map::new();
            for pair in list.values {
                let name = key(&pair.key);
                if !take(room, 8 + name.len()) {
                    values.insert(ELLIPSIS.to_owned(), Value::Null);
                    break;
                }
                values.insert(name, nested(pair.value, room, depth + 1));
            }
            values.into()
        }
        // Of profiles only: the protocol says to take it for nothing.
        Any::StringValueStrindex(_) => Value::Null,
    }
}

fn string(text: &str, room: &mut usize, depth: usize) -> Value {
    if depth == 0 || take(room, text.len()) {
        return cut(text).into();
    }
    ELLIPSIS.into()
}

fn take(room: &mut usize, bytes: usize) -> bool {
    let enough = *room >= bytes;
    *room = room.saturating_sub(bytes);
    enough
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValue, KeyValueList};
    use serde_json::json;

    use super::*;

    fn any(value: Any) -> AnyValue {
        AnyValue { value: Some(value) }
    }

    fn list(values: Vec<AnyValue>) -> AnyValue {
        any(Any::ArrayValue(ArrayValue { values }))
    }

    #[test]
    fn values_become_json() {
        let pair = |key: &str, value| KeyValue {
            key: key.to_owned(),
            value,
            ..KeyValue::default()
        };
        let map = any(Any::KvlistValue(KeyValueList {
            values: vec![
                pair("a\0b", Some(any(Any::StringValue("c\0d".into())))),
                pair("list", Some(list(vec![any(Any::IntValue(i64::MIN))]))),
                pair("bytes", Some(any(Any::BytesValue(vec![0, 255])))),
                pair("infinite", Some(any(Any::DoubleValue(f64::INFINITY)))),
                pair("half", Some(any(Any::DoubleValue(0.5)))),
                pair("empty", None),
            ],
        }));
        assert_eq!(
            to_json(Some(map)),
            json!({
                "a\u{2400}b": "c\u{2400}d", "list": [i64::MIN], "bytes": "AP8=",
                "infinite": "inf", "half": 0.5, "empty": null,
            })
        );
    }

    #[test]
    fn what_is_deep_long_or_many_is_cut() {
        let mut deep = any(Any::BoolValue(true));
        for _ in 0..50 {
            deep = list(vec![deep]);
        }
        assert_eq!(to_json(Some(deep)).to_string(), "[[[[[[[[\"…\"]]]]]]]]");

        let many = list(vec![any(Any::BoolValue(true)); 100_000]);
        let many = to_json(Some(many));
        assert_eq!(many.as_array().unwrap().len(), MAX_TEXT_BYTES / 8 + 1);

        let long = any(Any::StringValue("x".repeat(20_000)));
        let alone = to_json(Some(long.clone()));
        assert!(alone.as_str().unwrap().ends_with("… (20000 bytes)"));
        assert_eq!(to_json(Some(list(vec![long]))), json!(["…"]));
    }
}
