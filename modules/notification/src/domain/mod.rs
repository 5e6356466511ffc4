//! Types and rules: no SQL, no network, no clock.

mod address;
mod backoff;
mod delivery;
mod locale;
mod message;
mod name;
mod notice;
mod occurrence;
mod preferences;
mod unsubscribe;
mod words;

pub(crate) use self::{
    address::MailAddress,
    backoff::Backoff,
    delivery::{Claimed, End, Outcome},
    locale::{Locale, language_tag},
    message::Message,
    name::SafeName,
    notice::Notice,
    occurrence::{Occurrence, Seen},
    preferences::{Category, Channel, Preferences, switch},
    unsubscribe::Unsubscriber,
    words::Words,
};

/// The two columns that hold what was tagged with `name` and `data`.
fn columns(tagged: &impl serde::Serialize) -> (String, serde_json::Value) {
    let mut whole = serde_json::to_value(tagged).expect("messages are plain data");
    let data = whole["data"].take();
    let serde_json::Value::String(name) = whole["name"].take() else {
        unreachable!("the tag is a string")
    };
    (name, data)
}
