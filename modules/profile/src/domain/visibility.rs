use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an owner may show or keep to themselves. The display name is not among them: who deals with
/// somebody has to call them something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Field {
    Attributes,
    Avatar,
    Bio,
    Links,
    Locale,
    TimeZone,
}

impl Field {
    pub(crate) const ALL: [Self; 6] = [
        Self::Attributes,
        Self::Avatar,
        Self::Bio,
        Self::Links,
        Self::Locale,
        Self::TimeZone,
    ];

    /// As clients and the table spell it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Attributes => "attributes",
            Self::Avatar => "avatar",
            Self::Bio => "bio",
            Self::Links => "links",
            Self::Locale => "locale",
            Self::TimeZone => "time_zone",
        }
    }
}

/// Who sees a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Audience {
    /// The owner alone.
    Private,
    /// Whoever is signed in: people and services.
    Members,
}

/// The fields that members see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Visible(BTreeSet<Field>);

impl Visible {
    /// A picture is there to be recognised by; everything else is private until its owner says.
    pub(crate) fn by_default(field: Field) -> Audience {
        match field {
            Field::Avatar => Audience::Members,
            Field::Attributes | Field::Bio | Field::Links | Field::Locale | Field::TimeZone => {
                Audience::Private
            }
        }
    }

    pub(crate) fn audience(&self, field: Field) -> Audience {
        if self.contains(field) {
            Audience::Members
        } else {
            Audience::Private
        }
    }

    pub(crate) fn contains(&self, field: Field) -> bool {
        self.0.contains(&field)
    }

    pub(crate) fn set(&mut self, field: Field, audience: Audience) {
        match audience {
            Audience::Members => self.0.insert(field),
            Audience::Private => self.0.remove(&field),
        };
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.iter().map(|field| field.name().to_owned()).collect()
    }

    /// A name that is not known is one of a later release: shown to nobody here.
    pub(crate) fn from_names(names: &[String]) -> Self {
        let named = |field: &Field| names.iter().any(|name| name == field.name());
        Self(Field::ALL.into_iter().filter(named).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_everywhere() {
        let every: Vec<_> = Field::ALL.map(|field| field.name().to_owned()).to_vec();
        assert_eq!(Visible::from_names(&every).names(), every);
        for field in Field::ALL {
            assert_eq!(serde_json::to_value(field).unwrap(), field.name());
        }
        assert!(
            Visible::from_names(&["shoe_size".to_owned()])
                .names()
                .is_empty()
        );
        let migration =
            include_str!("../../../../migrations/profile/0002_links_attributes_visibility.sql");
        assert!(migration.contains(&format!("'{{{}}}'::text[]", every.join(","))));
    }
}
