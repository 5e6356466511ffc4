//! What of a JSON value does not have the shape that a type's schema describes: all of it. serde stops at
//! the first fault, and a form has to show every field that is wrong.
//!
//! This decides nothing: serde has refused the value before. So whatever the schema does not say as
//! plainly as a type, a field that is required or one that is not known, is left to serde's own words.

use std::collections::HashMap;

use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{AdditionalProperties, ArrayItems, SchemaType, Type},
    },
};

use crate::problem::FieldError;

/// Faults that are told; a body may have as many as it has bytes.
const MAX_FAULTS: usize = 50;
/// Of a field's name: anybody may choose any.
const MAX_POINTER_BYTES: usize = 200;

/// Every fault of the value, with JSON Pointers (RFC 6901). Never a value: it may be a secret.
pub(crate) fn faults<T: ToSchema>(value: &Value) -> Vec<FieldError> {
    let mut named = Vec::new();
    T::schemas(&mut named);
    let mut look = Look {
        named: named.into_iter().collect(),
        faults: Vec::new(),
    };
    look.look(value, &<T as PartialSchema>::schema(), "");
    look.faults
}

struct Look {
    named: HashMap<String, RefOr<Schema>>,
    faults: Vec<FieldError>,
}

impl Look {
    fn look(&mut self, value: &Value, schema: &RefOr<Schema>, at: &str) {
        match schema {
            RefOr::T(schema) => self.look_at(value, schema, at),
            RefOr::Ref(reference) => {
                let name = reference.ref_location.rsplit('/').next();
                if let Some(schema) = name.and_then(|name| self.named.get(name)).cloned() {
                    self.look(value, &schema, at);
                }
            }
        }
    }

    fn look_at(&mut self, value: &Value, schema: &Schema, at: &str) {
        match schema {
            Schema::Object(object) => {
                if !self.has_type(value, &object.schema_type, at) {
                    return;
                }
                let Value::Object(fields) = value else { return };
                for name in &object.required {
                    if !fields.contains_key(name) {
                        self.fault(&below(at, name), "must be given");
                    }
                }
                for (name, value) in fields {
                    let at = below(at, name);
                    match (
                        object.properties.get(name),
                        object.additional_properties.as_deref(),
                    ) {
                        (Some(schema), _) => self.look(value, schema, &at),
                        (None, Some(AdditionalProperties::RefOr(schema))) => {
                            self.look(value, schema, &at);
                        }
                        (None, Some(AdditionalProperties::FreeForm(false))) => {
                            self.fault(&at, "is not known");
                        }
                        (None, _) => {}
                    }
                }
            }
            Schema::Array(array) => {
                if !self.has_type(value, &array.schema_type, at) {
                    return;
                }
                if let (Value::Array(items), ArrayItems::RefOrSchema(schema)) =
                    (value, &array.items)
                {
                    for (n, item) in items.iter().enumerate() {
                        self.look(item, schema, &below(at, &n.to_string()));
                    }
                }
            }
            Schema::AllOf(all) => {
                for schema in &all.items {
                    self.look(value, schema, at);
                }
            }
            Schema::OneOf(one) => self.look_at_any(value, &one.items, at),
            Schema::AnyOf(any) => self.look_at_any(value, &any.items, at),
            _ => {}
        }
    }

    /// One of the forms is enough. Where only one is left beside null, its faults are told; of several
    /// nobody knows which was meant.
    fn look_at_any(&mut self, value: &Value, forms: &[RefOr<Schema>], at: &str) {
        let before = self.faults.len();
        let mut told = Vec::new();
        for form in forms {
            self.look(value, form, at);
            let faults = self.faults.split_off(before);
            if faults.is_empty() {
                return;
            }
            if !is_null(form) {
                told.push(faults);
            }
        }
        match <[_; 1]>::try_from(told) {
            Ok([only]) => self.faults.extend(only),
            Err(_) => self.fault(at, "has none of the forms that it may have"),
        }
    }

    fn has_type(&mut self, value: &Value, types: &SchemaType, at: &str) -> bool {
        let types = match types {
            SchemaType::Type(one) => std::slice::from_ref(one),
            SchemaType::Array(several) => several,
            SchemaType::AnyValue => return true,
        };
        let good = types.iter().any(|wanted| is(value, wanted));
        if !good {
            let wanted = types.iter().find(|wanted| **wanted != Type::Null);
            self.fault(at, wanted.map_or("must be null", article));
        }
        good
    }

    fn fault(&mut self, at: &str, message: &str) {
        if self.faults.len() < MAX_FAULTS {
            let at = &at[..at.floor_char_boundary(MAX_POINTER_BYTES)];
            self.faults.push(FieldError::new(at, message));
        }
    }
}

fn is(value: &Value, wanted: &Type) -> bool {
    match wanted {
        Type::Object => value.is_object(),
        Type::String => value.is_string(),
        Type::Integer => value.is_i64() || value.is_u64(),
        Type::Number => value.is_number(),
        Type::Boolean => value.is_boolean(),
        Type::Array => value.is_array(),
        Type::Null => value.is_null(),
    }
}

fn article(wanted: &Type) -> &'static str {
    match wanted {
        Type::Object => "must be an object",
        Type::String => "must be a text",
        Type::Integer => "must be a whole number",
        Type::Number => "must be a number",
        Type::Boolean => "must be true or false",
        Type::Array => "must be a list",
        Type::Null => "must be null",
    }
}

fn is_null(schema: &RefOr<Schema>) -> bool {
    let RefOr::T(Schema::Object(object)) = schema else {
        return false;
    };
    object.schema_type == SchemaType::Type(Type::Null)
}

fn below(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(ToSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Order {
        email: String,
        count: u32,
        note: Option<String>,
        gift: Option<bool>,
        #[serde(default)]
        express: bool,
        lines: Vec<Line>,
        to: Option<Place>,
    }

    #[derive(ToSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Line {
        price: f64,
        #[serde(rename = "a/b~c")]
        odd: String,
    }

    #[derive(ToSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Place {
        city: String,
    }

    fn told(value: &Value) -> Vec<String> {
        let faults = faults::<Order>(value).into_iter();
        let mut told: Vec<_> = faults
            .map(|f| format!("{} {}", f.field, f.message))
            .collect();
        told.sort();
        told
    }

    #[test]
    fn every_fault_is_told() {
        let value = json!({
            "count": "3", "note": 5, "gift": null, "surprise": 1, "to": { "city": 1 },
            "lines": [{ "price": 1, "a/b~c": "" }, { "price": "1" }, 3],
        });
        assert_eq!(
            told(&value),
            [
                "/count must be a whole number",
                "/email must be given",
                "/lines/1/a~1b~0c must be given",
                "/lines/1/price must be a number",
                "/lines/2 must be an object",
                "/note must be a text",
                "/surprise is not known",
                "/to/city must be a text",
            ]
        );
    }

    #[test]
    fn what_has_the_shape_has_no_fault() {
        let value = json!({
            "email": "", "count": 3, "note": null, "to": null, "lines": [],
        });
        assert_eq!(told(&value), [""; 0]);
        assert_eq!(told(&json!([])), [" must be an object"]);
    }

    #[test]
    fn what_is_told_has_an_end() {
        let many: serde_json::Map<_, _> = (0..1_000)
            .map(|n| (format!("{n}{}", "é".repeat(1_000)), json!(n)))
            .collect();
        let faults = faults::<Order>(&Value::Object(many));
        assert_eq!(faults.len(), MAX_FAULTS);
        assert!(faults.iter().all(|f| f.field.len() <= MAX_POINTER_BYTES));
    }
}
