//! What there is to say, and what is needed to say it.

use kernel::Sealed;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// A mail: its template, and the data that was copied when the event arrived.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "template", content = "data", rename_all = "snake_case")]
pub(crate) enum Message {
    /// Nothing that someone typed is in it: the address is not proven, and a registration must not
    /// be a way to send a stranger a text of one's choice.
    Verification {
        registration_id: Uuid,
        /// Taken out of the row, by this name, when the message is done with.
        code: Sealed<String>,
    },
    AddressTaken {},
    Welcome {
        display_name: Option<String>,
    },
}

impl Message {
    /// As the two columns hold it.
    pub(crate) fn into_columns(self) -> (String, Value) {
        let mut whole = serde_json::to_value(self).expect("messages are plain data");
        let data = whole["data"].take();
        let Value::String(template) = whole["template"].take() else {
            unreachable!("the tag is a string")
        };
        (template, data)
    }

    /// Nothing when a later release wrote what this one does not know.
    pub(crate) fn from_columns(template: &str, data: &Value) -> Option<Self> {
        serde_json::from_value(json!({ "template": template, "data": data })).ok()
    }

    pub(crate) fn is_urgent(&self) -> bool {
        match self {
            // Someone sits before a form and waits for it.
            Self::Verification { .. } => true,
            Self::AddressTaken {} | Self::Welcome { .. } => false,
        }
    }
}

/// What a notification in the app is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Welcome,
    /// Of a later release.
    Other,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Welcome => "welcome",
            Self::Other => "other",
        }
    }

    pub(crate) fn parse(kind: &str) -> Self {
        match kind {
            "welcome" => Self::Welcome,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use kernel::{Sealer, Secrets, World, secret::Key};

    use super::*;

    fn sealer() -> Sealer {
        Secrets::for_module(&Key::new([1; 32]), &Key::new([2; 32]), "notification")
            .sealer()
            .clone()
    }

    #[test]
    fn messages_come_back_from_their_columns() {
        let registration_id = Uuid::from_u128(1);
        let code = sealer().seal(&World::system(), "context", &"123456".to_owned());
        let (template, data) = Message::Verification {
            registration_id,
            code,
        }
        .into_columns();
        assert_eq!(template, "verification");
        assert!(!data.to_string().contains("123456"));
        let Some(Message::Verification { code, .. }) = Message::from_columns(&template, &data)
        else {
            panic!("another message")
        };
        assert_eq!(sealer().open("context", &code).as_deref(), Some("123456"));

        let (template, data) = Message::AddressTaken {}.into_columns();
        assert_eq!((template.as_str(), data), ("address_taken", json!({})));
        assert!(Message::from_columns("newsletter", &json!({})).is_none());
        assert!(Message::from_columns("verification", &json!({})).is_none());
    }
}
