//! Published by any module: what people did to its events by hand.

use kernel::EventType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event;

/// Where an event was parked.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EventSkipped {
    /// The event that takes no effect.
    pub event_id: Uuid,
    pub event_type: String,
    /// The subscriber for which it does not.
    pub module: String,
    pub subscription: String,
}

event!(
    EventSkipped,
    "bus.event.skipped.v1",
    "A person passed over an event that a subscription could not handle.",
    |e| e.event_id.to_string(),
    ordered: false
);

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SubjectRetried {
    pub module: String,
    pub subscription: String,
    pub topic: String,
    pub subject: String,
}

event!(
    SubjectRetried,
    "bus.subject.retried.v1",
    "A person had a parked subject tried again.",
    |e| e.subject.clone(),
    ordered: false
);

pub fn events() -> Vec<EventType> {
    vec![
        EventType::of::<EventSkipped>(),
        EventType::of::<SubjectRetried>(),
    ]
}
