//! Published by notification: what became of messages.

use kernel::{EventType, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event;

pub const PUBLISHER: &str = "notification";

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MessageSent {
    pub message_id: Uuid,
    /// None for messages to addresses without an account.
    pub user_id: Option<UserId>,
    /// `email` or `in_app`.
    pub channel: String,
    pub template: String,
    pub attempts: i32,
}

event!(
    MessageSent,
    "notification.message.sent.v1",
    "A message was handed over: accepted by the mail server, or shown in the app.",
    |e| e.message_id.to_string(),
    ordered: false
);

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MessageFailed {
    pub message_id: Uuid,
    pub user_id: Option<UserId>,
    pub channel: String,
    pub template: String,
    pub attempts: i32,
    /// `gave_up`; `expired` when what it tells is no longer true; `muted` when its recipient does not
    /// want it; `bounced` when its server said that the address takes no mail, and `suppressed` when that
    /// was known before. Others may be added.
    pub reason: String,
}

event!(
    MessageFailed,
    "notification.message.failed.v1",
    "A message will not be delivered.",
    |e| e.message_id.to_string(),
    ordered: false
);

/// Of what it says and to whom, nothing is told.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SendRequested {
    pub send_id: Uuid,
    /// `account` or `product`.
    pub category: String,
    /// How many people.
    pub recipients: i32,
}

event!(
    SendRequested,
    "notification.send.requested.v1",
    "A service had people told something.",
    |e| e.send_id.to_string(),
    ordered: false
);

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryRetried {
    pub message_id: Uuid,
}

event!(
    DeliveryRetried,
    "notification.delivery.retried.v1",
    "An administrator had a message tried again.",
    |e| e.message_id.to_string(),
    ordered: false
);

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryGivenUp {
    pub message_id: Uuid,
}

event!(
    DeliveryGivenUp,
    "notification.delivery.given_up.v1",
    "An administrator ended the tries of a message.",
    |e| e.message_id.to_string(),
    ordered: false
);

/// The address is not told: the events of its delivery lead to its person.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SuppressionLifted {
    pub suppression_id: Uuid,
}

event!(
    SuppressionLifted,
    "notification.suppression.lifted.v1",
    "An administrator let an address have mail again.",
    |e| e.suppression_id.to_string(),
    ordered: false
);

pub fn events() -> Vec<EventType> {
    vec![
        EventType::of::<MessageSent>(),
        EventType::of::<MessageFailed>(),
        EventType::of::<SendRequested>(),
        EventType::of::<DeliveryRetried>(),
        EventType::of::<DeliveryGivenUp>(),
        EventType::of::<SuppressionLifted>(),
    ]
}
