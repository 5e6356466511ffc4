//! A message on its way out.

use kernel::{EventId, RequestContext, UserId, World, event::EventContext};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Preferences;

/// A delivery in a worker's hands, for as long as its lease lasts.
#[derive(Clone, Debug)]
pub(crate) struct Claimed {
    pub(crate) id: Uuid,
    pub(crate) lease: Uuid,
    pub(crate) channel: String,
    pub(crate) user_id: Option<UserId>,
    pub(crate) address: String,
    pub(crate) template: String,
    pub(crate) locale: String,
    pub(crate) data: Value,
    pub(crate) message_id: String,
    /// The recipient's, at the moment of the claim.
    pub(crate) preferences: Preferences,
    /// The address is known to take no mail, at the moment of the claim.
    pub(crate) suppressed: bool,
    /// The number of this try, from 1.
    pub(crate) attempt: i32,
    pub(crate) expires_at: OffsetDateTime,
    pub(crate) traceparent: String,
    pub(crate) correlation_id: String,
    pub(crate) event_id: EventId,
}

impl Claimed {
    /// The trace of the request that the message goes back to: records of sending it belong there.
    pub(crate) fn context(&self, world: &World) -> RequestContext {
        let event = EventContext {
            traceparent: self.traceparent.clone(),
            correlationid: self.correlation_id.clone(),
            ..EventContext::default()
        };
        RequestContext::caused_by(world, self.event_id, &event)
    }
}

/// What came of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Sent {
        /// The server's words.
        reply: Option<String>,
    },
    /// Once more, not before.
    Retry { at: OffsetDateTime, error: String },
    /// Never again.
    Failed { error: String },
    /// Never again, for the address takes no mail at all.
    Bounced { error: String },
    /// What it tells is no longer true.
    Expired,
    /// The person does not want it.
    Muted,
    /// The address is known to take no mail.
    Suppressed,
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Sent,
    Failed,
    Bounced,
    Expired,
    Muted,
    Suppressed,
}

impl Outcome {
    /// The row's next status.
    pub(crate) fn status(&self) -> &'static str {
        match self {
            Self::Sent { .. } => "sent",
            Self::Retry { .. } => "queued",
            Self::Failed { .. } | Self::Bounced { .. } => "failed",
            Self::Expired => "expired",
            Self::Muted => "muted",
            Self::Suppressed => "suppressed",
        }
    }

    pub(crate) fn end(&self) -> Option<End> {
        match self {
            Self::Sent { .. } => Some(End::Sent),
            Self::Retry { .. } => None,
            Self::Failed { .. } => Some(End::Failed),
            Self::Bounced { .. } => Some(End::Bounced),
            Self::Expired => Some(End::Expired),
            Self::Muted => Some(End::Muted),
            Self::Suppressed => Some(End::Suppressed),
        }
    }

    /// What was said: by the server, or by us when there was none.
    pub(crate) fn reply(&self) -> Option<&str> {
        match self {
            Self::Sent { reply } => reply.as_deref(),
            other => other.error(),
        }
    }

    pub(crate) fn error(&self) -> Option<&str> {
        match self {
            Self::Retry { error, .. } | Self::Failed { error } | Self::Bounced { error } => {
                Some(error)
            }
            Self::Sent { .. } | Self::Expired | Self::Muted | Self::Suppressed => None,
        }
    }
}
