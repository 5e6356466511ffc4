use kernel::person::Invalid;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What the product keeps of a person: a JSON object, of which we know only that it is small.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Attributes(Map<String, Value>);

impl Attributes {
    /// As it is written without white space.
    pub(crate) const MAX_BYTES: usize = 8_192;
    /// Of all objects in it together.
    pub(crate) const MAX_KEYS: usize = 100;
    pub(crate) const MAX_KEY_BYTES: usize = 64;
    /// The object itself is the first level.
    pub(crate) const MAX_DEPTH: usize = 5;

    /// A merge patch applied (RFC 7396 §2): null takes a member away, an object is merged, anything
    /// else replaces.
    ///
    /// # Errors
    /// When the outcome is not small, or one of its keys is no key.
    pub(crate) fn merged(&self, patch: Map<String, Value>) -> Result<Self, Invalid> {
        let mut members = self.0.clone();
        merge(&mut members, patch);
        let mut keys = 0;
        check(&members, 1, &mut keys)?;
        if keys > Self::MAX_KEYS {
            return Err("must have at most 100 keys");
        }
        let text = serde_json::to_string(&members).expect("a JSON value");
        if text.len() > Self::MAX_BYTES {
            return Err("must have at most 8192 bytes as JSON");
        }
        Ok(Self(members))
    }

    pub(crate) fn members(&self) -> &Map<String, Value> {
        &self.0
    }

    pub(crate) fn into_members(self) -> Map<String, Value> {
        self.0
    }
}

fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => {
                target.remove(&key);
            }
            Value::Object(patch) => {
                let member = target.entry(key).or_insert(Value::Null);
                if !member.is_object() {
                    *member = Value::Object(Map::new());
                }
                merge(member.as_object_mut().expect("made one"), patch);
            }
            value => {
                target.insert(key, value);
            }
        }
    }
}

fn check(members: &Map<String, Value>, depth: usize, keys: &mut usize) -> Result<(), Invalid> {
    *keys += members.len();
    for (key, value) in members {
        if !is_key(key) {
            return Err(
                "keys must be 1 to 64 letters, digits, dots, dashes or underscores, a letter first",
            );
        }
        check_value(value, depth + 1, keys)?;
    }
    Ok(())
}

fn check_value(value: &Value, depth: usize, keys: &mut usize) -> Result<(), Invalid> {
    if depth > Attributes::MAX_DEPTH && (value.is_object() || value.is_array()) {
        return Err("must be nested at most 5 deep");
    }
    match value {
        Value::Object(members) => check(members, depth, keys),
        Value::Array(values) => values
            .iter()
            .try_for_each(|value| check_value(value, depth + 1, keys)),
        _ => Ok(()),
    }
}

/// `plan`, `address.city`: what every client's language can name. None is `__proto__`.
fn is_key(key: &str) -> bool {
    key.len() <= Attributes::MAX_KEY_BYTES
        && key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    fn merged(target: Value, patch: Value) -> Result<Value, Invalid> {
        let merged = Attributes(object(target)).merged(object(patch))?;
        Ok(Value::Object(merged.0))
    }

    /// Those of RFC 7396 appendix A that patch an object with an object.
    #[test]
    fn patches_merge_as_the_rfc_says() {
        for (target, patch, outcome) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (
                json!({"a":"b","b":"c"}),
                json!({"a":null}),
                json!({"b":"c"}),
            ),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (
                json!({"a":{"b":"c"}}),
                json!({"a":{"b":"d","c":null}}),
                json!({"a":{"b":"d"}}),
            ),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (
                json!({}),
                json!({"a":{"bb":{"ccc":null}}}),
                json!({"a":{"bb":{}}}),
            ),
        ] {
            assert_eq!(
                merged(target.clone(), patch.clone()),
                Ok(outcome),
                "{target} {patch}"
            );
        }
    }

    #[test]
    fn what_is_not_small_is_refused() {
        let deep = |levels: usize| (1..levels).fold(json!({}), |inner, _| json!({ "a": inner }));
        let lists =
            |levels: usize| json!({ "a": (2..levels).fold(json!([]), |inner, _| json!([inner])) });
        let wide =
            |keys: usize| Value::Object((0..keys).map(|n| (format!("k{n}"), json!(n))).collect());
        for (patch, fits) in [
            (deep(5), true),
            (deep(6), false),
            (lists(5), true),
            (lists(6), false),
            (wide(100), true),
            (wide(101), false),
            (json!({ "a": wide(60), "b": wide(60) }), false),
            (json!({ "a": "x".repeat(8_184) }), true),
            (json!({ "a": "x".repeat(8_185) }), false),
            (json!({ "a": "\n".repeat(4_093) }), false),
            (json!({ "x".repeat(64): 1 }), true),
            (json!({ "x".repeat(65): 1 }), false),
            (json!({ "": 1 }), false),
            (json!({ "__proto__": 1 }), false),
            (json!({ "1st": 1 }), false),
            (json!({ "a b": 1 }), false),
            (json!({ "ä": 1 }), false),
            (json!({ "a": [{ "$b": 1 }] }), false),
        ] {
            assert_eq!(merged(json!({}), patch.clone()).is_ok(), fits, "{patch}");
        }
        // Each patch is small, and what they add up to is not.
        let half = json!({ "a": "x".repeat(5_000) });
        assert!(merged(half, json!({ "b": "x".repeat(5_000) })).is_err());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(7, 60, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c$]{0,2}", inner, 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_is_merged_is_small_and_stays_itself(a in any_json(), b in any_json()) {
            let patches = [a, b].into_iter().filter_map(|v| v.as_object().cloned());
            let mut attributes = Attributes::default();
            for patch in patches {
                if let Ok(merged) = attributes.merged(patch.clone()) {
                    let text = serde_json::to_string(&merged).unwrap();
                    prop_assert!(text.len() <= Attributes::MAX_BYTES);
                    // The same patch again changes nothing.
                    prop_assert_eq!(merged.merged(patch).unwrap(), merged.clone());
                    attributes = merged;
                }
            }
        }
    }
}
