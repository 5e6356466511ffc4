//! What a profile is, and what may stand in it.

mod bio;

use kernel::UserId;
use time::OffsetDateTime;

pub(crate) use kernel::person::{DisplayName, Invalid, Locale, TimeZone};

pub(crate) use self::bio::Bio;

/// A profile as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) user_id: UserId,
    pub(crate) display_name: Option<String>,
    pub(crate) bio: Option<String>,
    pub(crate) locale: String,
    pub(crate) time_zone: String,
    pub(crate) version: i64,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) updated_at: OffsetDateTime,
}

impl Profile {
    /// The names of the fields that differ, as clients know them.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        [
            ("display_name", self.display_name != other.display_name),
            ("bio", self.bio != other.bio),
            ("locale", self.locale != other.locale),
            ("time_zone", self.time_zone != other.time_zone),
        ]
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(name, _)| name.to_owned())
        .collect()
    }
}

/// An edit. What is none stays as it is; an inner none clears.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) display_name: Option<Option<DisplayName>>,
    pub(crate) bio: Option<Option<Bio>>,
    pub(crate) locale: Option<Locale>,
    pub(crate) time_zone: Option<TimeZone>,
}
