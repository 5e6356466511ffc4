//! `/api/v1/notifications/send`: services have people told something.

pub(crate) mod get_send;
pub(crate) mod submit;

use kernel::{Principal, Problem, UserId};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{domain::Channel, store::sends::Part};

/// The scope of services that may.
pub(crate) const SCOPE: &str = "notifications:send";

/// What became of a request, person by person.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SendView {
    id: Uuid,
    deliveries: Vec<DeliveryView>,
}

/// One person, one channel.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryView {
    /// Absent when nothing was made, because the person does not want it.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    recipient: UserId,
    #[schema(value_type = Channel)]
    channel: String,
    /// `queued`, `sending`, `sent`, `failed`, `expired`, `muted` (the person does not want it) or
    /// `suppressed` (the address takes no mail); others may be added.
    #[schema(examples("queued"))]
    status: String,
}

impl From<Part> for DeliveryView {
    fn from(part: Part) -> Self {
        Self {
            id: Some(part.id),
            recipient: part.user_id,
            channel: part.channel,
            status: part.status,
        }
    }
}

/// Services alone: a person with the scope could write to everybody in our name.
fn sender(principal: &Principal) -> Result<String, Problem> {
    match principal {
        Principal::Service { .. } => Ok(principal.actor()),
        Principal::User { .. } => Err(Problem::forbidden("This is for services only.")),
    }
}
