//! Contracts are kept: every event is compared with its snapshot in `crates/contracts/snapshots/`.
//!
//! A field may be added if old events need not have it; anything else is a new version of the event,
//! beside the old one. `UPDATE_CONTRACTS=1 cargo test --test app contracts` writes down what was
//! added; it refuses to write down what breaks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use banyan::modules::MODULES;
use kernel::EventType;
use serde_json::{Value, json};

fn all_events() -> Vec<EventType> {
    let of_modules = MODULES.iter().flat_map(|module| module.events());
    of_modules.chain(contracts::bus::events()).collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("crates/contracts/snapshots")
}

fn snapshot(event: &EventType) -> Value {
    json!({ "type": event.name, "ordered": event.ordered, "data": event.schema })
}

/// What a reader of the old contract would trip over in the new one.
fn breaks(path: &str, old: &Value, new: &Value) -> Vec<String> {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        let changed = format!("{path} was {old} and is {new}");
        // A reader of names that takes those it does not know for `other` may meet new ones.
        let grows = matches!((names(old), names(new)), (Some(old), Some(new))
            if old.contains("other") && old.is_subset(&new));
        return if old == new || grows {
            vec![]
        } else {
            vec![changed]
        };
    };
    let mut found = Vec::new();
    for (name, was) in old {
        let path = format!("{path}/{name}");
        match (name.as_str(), new.get(name)) {
            // Words for people.
            ("title" | "description" | "$schema", _) => {}
            ("required", is) => {
                let names =
                    |v: Option<&Value>| v.and_then(Value::as_array).cloned().unwrap_or_default();
                for name in names(Some(was)) {
                    if !names(is).contains(&name) {
                        found.push(format!("{path}: {name} need not be there any more"));
                    }
                }
            }
            (_, Some(is)) => found.extend(breaks(&path, was, is)),
            (_, None) => found.push(format!("{path} is gone")),
        }
    }
    for name in required(new) {
        if !required(old).contains(&name) {
            found.push(format!(
                "{path}: {name} is required, and old events do not have it"
            ));
        }
    }
    for name in new.keys().filter(|name| !old.contains_key(*name)) {
        let grows = path.ends_with("/properties") || path.ends_with("/$defs");
        let words = ["title", "description", "required", "$defs"].contains(&name.as_str());
        if !grows && !words {
            found.push(format!("{path}/{name} was not there"));
        }
    }
    found
}

/// The names that an enumeration has: schemars lists those with a description one by one.
fn names(variants: &Value) -> Option<BTreeSet<&str>> {
    let mut names = BTreeSet::new();
    for variant in variants.as_array()? {
        match (variant.get("const"), variant.get("enum")) {
            (Some(name), _) => names.extend(name.as_str()),
            (_, Some(several)) => {
                names.extend(several.as_array()?.iter().filter_map(Value::as_str))
            }
            (None, None) => return None,
        }
    }
    Some(names)
}

fn required(object: &serde_json::Map<String, Value>) -> Vec<&Value> {
    object
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn contracts_are_kept() {
    let update = std::env::var_os("UPDATE_CONTRACTS").is_some();
    let mut kept: BTreeMap<String, Value> = fs::read_dir(folder())
        .expect("snapshots/")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let text = fs::read_to_string(&path).expect("a snapshot");
            let name = path
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (name, serde_json::from_str(&text).expect("JSON"))
        })
        .collect();
    for event in all_events() {
        let now = snapshot(&event);
        let before = kept.remove(event.name);
        if let Some(before) = &before {
            let broken = breaks(event.name, before, &now);
            assert!(
                broken.is_empty(),
                "{} would break its readers; publish a new version beside it:\n{}",
                event.name,
                broken.join("\n")
            );
        }
        if before.as_ref() != Some(&now) {
            assert!(
                update,
                "{} is new or has grown: UPDATE_CONTRACTS=1 cargo test --test app contracts writes it down",
                event.name
            );
            let text = serde_json::to_string_pretty(&now).expect("plain data") + "\n";
            fs::write(folder().join(format!("{}.json", event.name)), text).expect("written");
        }
    }
    let gone: Vec<_> = kept.keys().collect();
    assert!(
        gone.is_empty(),
        "events are published no more, and someone may read them: {gone:?}"
    );
}

#[test]
fn names_say_module_entity_fact_and_version() {
    for (module, event) in MODULES
        .iter()
        .flat_map(|m| m.events().into_iter().map(|e| (m.name(), e)))
    {
        let parts: Vec<_> = event.name.split('.').collect();
        assert_eq!(parts.len(), 4, "{}", event.name);
        assert_eq!(parts[0], module, "{}", event.name);
        let version = parts[3]
            .strip_prefix('v')
            .and_then(|v| v.parse::<u32>().ok());
        assert!(version.is_some_and(|v| v > 0), "{}", event.name);
    }
}

#[test]
fn what_breaks_readers_is_found() {
    let old = snapshot(&EventType::of::<contracts::identity::UserRegistered>());
    assert_eq!(breaks("", &old, &old), Vec::<String>::new());
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new);
        breaks("", &old, &new)
    };
    let added = changed(&|new| new["data"]["properties"]["nickname"] = json!({ "type": "string" }));
    assert_eq!(added, Vec::<String>::new());
    for breaking in [
        changed(&|new| new["data"]["properties"]["email"] = json!({ "type": "integer" })),
        changed(&|new| {
            new["data"]["properties"]
                .as_object_mut()
                .unwrap()
                .remove("email");
        }),
        changed(&|new| {
            new["data"]["properties"]["nickname"] = json!({ "type": "string" });
            new["data"]["required"]
                .as_array_mut()
                .unwrap()
                .push(json!("nickname"));
        }),
        changed(&|new| {
            new["data"]["required"]
                .as_array_mut()
                .unwrap()
                .retain(|name| name != "email");
        }),
        changed(&|new| new["ordered"] = json!(false)),
        changed(&|new| new["type"] = json!("identity.user.joined.v1")),
    ] {
        assert!(!breaking.is_empty());
    }
}

#[test]
fn names_may_be_added_where_readers_expect_it() {
    let closed = json!([{ "enum": ["red", "green"] }, { "const": "blue" }]);
    let open = json!([{ "enum": ["red", "green"] }, { "const": "other" }]);
    let grown = json!([{ "enum": ["red"] }, { "const": "green" }, { "enum": ["other", "blue"] }]);
    let shrunk = json!([{ "const": "red" }, { "const": "other" }]);
    assert!(breaks("", &open, &grown).is_empty());
    assert!(!breaks("", &closed, &grown).is_empty());
    assert!(!breaks("", &open, &shrunk).is_empty());
}
