//! What a notification in the app says.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Category, Occurrence, Words, columns};

/// Its kind, and the data that was copied when the event arrived. It is put into words when it is
/// read.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "name", content = "data", rename_all = "snake_case")]
pub(crate) enum Notice {
    Welcome {},
    PasswordChanged { was_reset: bool, seen: Occurrence },
    UnfamiliarSignIn { seen: Occurrence },
    FromService { category: Category, words: Words },
}

impl Notice {
    pub(crate) fn category(&self) -> Category {
        match self {
            Self::PasswordChanged { .. } | Self::UnfamiliarSignIn { .. } => Category::Security,
            Self::Welcome {} => Category::Account,
            Self::FromService { category, .. } => *category,
        }
    }

    /// As the two columns hold it.
    pub(crate) fn to_columns(&self) -> (String, Value) {
        columns(self)
    }

    /// Nothing when a later release wrote what this one does not know.
    pub(crate) fn from_columns(kind: &str, data: &Value) -> Option<Self> {
        serde_json::from_value(json!({ "name": kind, "data": data })).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_come_back_from_their_columns() {
        let (kind, data) = Notice::Welcome {}.to_columns();
        assert_eq!((kind.as_str(), &data), ("welcome", &json!({})));
        assert!(Notice::from_columns(&kind, &data).is_some());
        assert!(Notice::from_columns("newer", &json!({})).is_none());
        assert!(Notice::from_columns("password_changed", &json!({})).is_none());
    }
}
