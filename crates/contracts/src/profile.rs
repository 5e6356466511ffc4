//! Published by profile: what people tell of themselves.

use kernel::{EventType, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::event;

pub const PUBLISHER: &str = "profile";

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ProfileCreated {
    pub user_id: UserId,
    pub display_name: Option<String>,
    /// BCP 47.
    pub locale: String,
    /// IANA.
    pub time_zone: String,
}

event!(
    ProfileCreated,
    "profile.profile.created.v1",
    "An account got its profile.",
    |e| e.user_id.to_string()
);

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ProfileUpdated {
    pub user_id: UserId,
    pub display_name: Option<String>,
    pub locale: String,
    pub time_zone: String,
    /// The names of the fields that changed, those too that are not shown.
    pub changed: Vec<String>,
    /// None with events of releases that did not tell.
    #[serde(default)]
    pub shown: Option<Shown>,
}

event!(
    ProfileUpdated,
    "profile.profile.updated.v1",
    "A person edited their profile.",
    |e| e.user_id.to_string()
);

/// What the owner shows to everybody who is signed in. What they keep to themselves is in no event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Shown {
    pub bio: Option<String>,
    pub links: Vec<Link>,
    /// What the product keeps of the person.
    pub attributes: Map<String, Value>,
    /// Who knows it may see the picture.
    pub avatar_url: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    pub label: String,
    /// `https:`, `http:` or `mailto:`.
    pub url: String,
}

/// The present state of a profile, told again for those who missed its history.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ProfileRestated {
    pub user_id: UserId,
    pub display_name: Option<String>,
    pub locale: String,
    pub time_zone: String,
    /// None with events of releases that did not tell.
    #[serde(default)]
    pub shown: Option<Shown>,
}

event!(
    ProfileRestated,
    "profile.profile.restated.v1",
    "The present state of a profile, published again on request.",
    |e| e.user_id.to_string()
);

pub fn events() -> Vec<EventType> {
    vec![
        EventType::of::<ProfileCreated>(),
        EventType::of::<ProfileUpdated>(),
        EventType::of::<ProfileRestated>(),
    ]
}
