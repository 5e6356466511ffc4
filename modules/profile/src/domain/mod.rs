//! What a profile is, and what may stand in it.

mod attributes;
mod avatar;
mod bio;
mod link;
mod visibility;

use kernel::UserId;
use serde_json::{Map, Value};
use time::OffsetDateTime;

pub(crate) use kernel::person::{DisplayName, Invalid, Locale, TimeZone};

pub(crate) use self::{
    attributes::Attributes,
    avatar::{Avatar, AvatarSize, MediaType},
    bio::Bio,
    link::Link,
    visibility::{Audience, Field, Visible},
};

/// A profile as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Profile {
    pub(crate) user_id: UserId,
    pub(crate) display_name: Option<String>,
    pub(crate) bio: Option<String>,
    pub(crate) locale: String,
    pub(crate) time_zone: String,
    pub(crate) links: Vec<Link>,
    pub(crate) attributes: Attributes,
    pub(crate) avatar: Option<Avatar>,
    pub(crate) visible: Visible,
    pub(crate) version: i64,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) updated_at: OffsetDateTime,
}

impl Profile {
    /// As it is after an edit.
    ///
    /// # Errors
    /// When the attributes would not be fit to be kept: only what is there tells that.
    pub(crate) fn edited(&self, changes: Changes) -> Result<Self, Invalid> {
        let mut new = self.clone();
        if let Some(name) = changes.display_name {
            new.display_name = name.map(DisplayName::into_string);
        }
        if let Some(bio) = changes.bio {
            new.bio = bio.map(Bio::into_string);
        }
        if let Some(locale) = changes.locale {
            new.locale = locale.into_string();
        }
        if let Some(time_zone) = changes.time_zone {
            new.time_zone = time_zone.into_string();
        }
        if let Some(links) = changes.links {
            new.links = links;
        }
        if let Some(patch) = changes.attributes {
            new.attributes = match patch {
                Some(patch) => self.attributes.merged(patch)?,
                None => Attributes::default(),
            };
        }
        for (field, audience) in changes.visibility {
            new.visible.set(field, audience);
        }
        Ok(new)
    }

    /// The names of the fields that differ, as clients know them.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        [
            ("display_name", self.display_name != other.display_name),
            ("bio", self.bio != other.bio),
            ("locale", self.locale != other.locale),
            ("time_zone", self.time_zone != other.time_zone),
            ("links", self.links != other.links),
            ("attributes", self.attributes != other.attributes),
            ("avatar", self.avatar != other.avatar),
            ("visibility", self.visible != other.visible),
        ]
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(name, _)| name.to_owned())
        .collect()
    }

    /// The value of a field, if everybody who is signed in may see it.
    pub(crate) fn shown<T>(&self, field: Field, value: T) -> Option<T> {
        self.visible.contains(field).then_some(value)
    }
}

/// An edit. What is none stays as it is; an inner none clears.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Changes {
    pub(crate) display_name: Option<Option<DisplayName>>,
    pub(crate) bio: Option<Option<Bio>>,
    pub(crate) locale: Option<Locale>,
    pub(crate) time_zone: Option<TimeZone>,
    pub(crate) links: Option<Vec<Link>>,
    /// A merge patch.
    pub(crate) attributes: Option<Option<Map<String, Value>>>,
    pub(crate) visibility: Vec<(Field, Audience)>,
}
