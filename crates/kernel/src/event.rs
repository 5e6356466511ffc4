//! Events: past facts, as the publisher's contract states them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::typed_id;

typed_id!(
    /// One event, once: every redelivery carries the same.
    EventId
);

/// A published fact. Fields are added, never changed; a breaking change is a new type beside this.
pub trait Event: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// `<module>.<entity>.<past tense>.v<n>`.
    const TYPE: &'static str;
    /// One sentence for the catalogue: what became true.
    const SUMMARY: &'static str;
    /// Ordered events take a dense number per topic and subject, and are handled in that order.
    /// Without order (failed sign-ins, one-off messages) they leave no row per subject behind.
    const ORDERED: bool = true;

    /// The key: the id of the long-lived entity that the event is about.
    fn subject(&self) -> String;
}

/// `<module>.<entity>` of a type.
pub fn topic_of(event_type: &str) -> &str {
    let mut dots = event_type.match_indices('.');
    dots.next();
    dots.next()
        .map_or(event_type, |(second, _)| &event_type[..second])
}

/// A type without its version: `identity.user.registered`.
pub fn family_of(event_type: &str) -> &str {
    match event_type.rsplit_once(".v") {
        Some((family, version)) if version.bytes().all(|b| b.is_ascii_digit()) => family,
        _ => event_type,
    }
}

/// An entry of the catalogue.
#[derive(Clone, Debug, Serialize)]
pub struct EventType {
    pub name: &'static str,
    pub summary: &'static str,
    pub ordered: bool,
    pub schema: serde_json::Value,
}

impl EventType {
    pub fn of<E: Event>() -> Self {
        Self {
            name: E::TYPE,
            summary: E::SUMMARY,
            ordered: E::ORDERED,
            schema: schemars::schema_for!(E).to_value(),
        }
    }

    pub fn topic(&self) -> &'static str {
        topic_of(self.name)
    }
}

/// Who did it, in which trace: travels with every event (CloudEvents extensions).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventContext {
    /// W3C trace context, version 00.
    pub traceparent: String,
    /// The request or job that everything downstream goes back to.
    pub correlationid: String,
    /// The event whose handling published this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causationid: Option<EventId>,
    /// `user:<id>`, `service:<id>`, or `system`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onbehalfof: Option<String>,
    /// The client's network address and program, as the edge saw them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Client>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Uuid>,
}

impl EventContext {
    /// The 32 hex digits of the trace, or nothing when the header is malformed.
    pub fn trace_id(&self) -> Option<&str> {
        self.traceparent
            .split('-')
            .nth(1)
            .filter(|id| id.len() == 32)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<std::net::IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

/// An event as it is stored and carried: CloudEvents 1.0 attributes and ours.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Envelope {
    pub id: EventId,
    /// The publishing module.
    pub source: String,
    #[serde(rename = "type")]
    pub event_type: String,
    pub subject: String,
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
    /// Position in the publisher's log: dense, from 1.
    pub pos: i64,
    /// Dense number per topic and subject, from 1; none for events without order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyseq: Option<i64>,
    /// Position of the subject's previous event, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyprevpos: Option<i64>,
    #[serde(flatten)]
    pub context: EventContext,
    pub data: Box<RawValue>,
}

impl Envelope {
    pub fn topic(&self) -> &str {
        topic_of(&self.event_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_and_family_are_parts_of_the_type() {
        assert_eq!(topic_of("identity.user.registered.v1"), "identity.user");
        assert_eq!(topic_of("odd"), "odd");
        assert_eq!(
            family_of("identity.user.registered.v12"),
            "identity.user.registered"
        );
        assert_eq!(family_of("identity.user.view"), "identity.user.view");
    }
}
