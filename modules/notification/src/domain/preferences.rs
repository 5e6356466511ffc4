//! What a person wants to be told, and where.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Category {
    /// Codes, and what happens to the account: its mails cannot be switched off.
    Security,
    /// About the account, and nothing to worry about.
    Account,
    /// What the services behind the front door have to say.
    Product,
}

/// Where it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Channel {
    Email,
    InApp,
}

impl Category {
    pub(crate) const ALL: [Self; 3] = [Self::Security, Self::Account, Self::Product];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Security => "security",
            Self::Account => "account",
            Self::Product => "product",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|category| category.as_str() == name)
    }

    /// Cannot be switched off: whoever takes an account over must not be able to keep its owner
    /// from hearing of it.
    pub(crate) fn is_required(self, channel: Channel) -> bool {
        match channel {
            Channel::Email => self == Self::Security,
            Channel::InApp => false,
        }
    }
}

impl Channel {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 2] = [Self::Email, Self::InApp];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::InApp => "in_app",
        }
    }
}

/// What is switched off; all else is on. Names of a later release are kept as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Preferences(BTreeSet<String>);

impl Preferences {
    pub(crate) fn from_column(muted: Vec<String>) -> Self {
        Self(muted.into_iter().collect())
    }

    pub(crate) fn to_column(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }

    pub(crate) fn allow(&self, category: Category, channel: Channel) -> bool {
        category.is_required(channel) || !self.0.contains(&switch(category, channel))
    }

    pub(crate) fn set(&mut self, category: Category, channel: Channel, on: bool) {
        let switch = switch(category, channel);
        if on {
            self.0.remove(&switch);
        } else {
            self.0.insert(switch);
        }
    }
}

/// As the table names it.
pub(crate) fn switch(category: Category, channel: Channel) -> String {
    format!("{}.{}", category.as_str(), channel.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_on_until_it_is_switched_off_and_security_mail_stays() {
        let mut preferences = Preferences::from_column(vec!["later.sms".to_owned()]);
        for category in Category::ALL {
            assert_eq!(Category::parse(category.as_str()), Some(category));
            for channel in Channel::ALL {
                assert!(preferences.allow(category, channel));
                preferences.set(category, channel, false);
                assert_eq!(
                    preferences.allow(category, channel),
                    category.is_required(channel)
                );
                preferences.set(category, channel, true);
                assert!(preferences.allow(category, channel));
            }
        }
        assert_eq!(preferences.to_column(), ["later.sms"]);
        assert_eq!(Category::parse("marketing"), None);
    }
}
