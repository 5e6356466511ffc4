//! What there is to say, and what is needed to say it.

use kernel::Sealed;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Category, Occurrence, Words, columns};

/// A mail: its template, and the data that was copied when the event arrived.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "name", content = "data", rename_all = "snake_case")]
pub(crate) enum Message {
    /// Nothing that someone typed is in it: the address is not proven, and a registration must not
    /// be a way to send a stranger a text of one's choice.
    Verification {
        registration_id: Uuid,
        /// Taken out of the row, by this name, when the message is done with.
        code: Sealed<String>,
    },
    SignInCode {
        code_id: Uuid,
        code: Sealed<String>,
    },
    PasswordResetCode {
        code_id: Uuid,
        code: Sealed<String>,
    },
    AddressTaken {},
    PasswordChanged {
        was_reset: bool,
        seen: Occurrence,
    },
    UnfamiliarSignIn {
        seen: Occurrence,
    },
    Welcome {
        display_name: Option<String>,
    },
    FromService {
        category: Category,
        words: Words,
    },
}

impl Message {
    /// As the two columns hold it.
    pub(crate) fn to_columns(&self) -> (String, Value) {
        columns(self)
    }

    /// Nothing when a later release wrote what this one does not know.
    pub(crate) fn from_columns(template: &str, data: &Value) -> Option<Self> {
        serde_json::from_value(json!({ "name": template, "data": data })).ok()
    }

    pub(crate) fn category(&self) -> Category {
        match self {
            Self::Verification { .. }
            | Self::SignInCode { .. }
            | Self::PasswordResetCode { .. }
            | Self::AddressTaken {}
            | Self::PasswordChanged { .. }
            | Self::UnfamiliarSignIn { .. } => Category::Security,
            Self::Welcome { .. } => Category::Account,
            Self::FromService { category, .. } => *category,
        }
    }

    /// Not sent to an address that is known to take no mail. Codes and notices are tried all the same:
    /// they are few, someone waits for them, and they lift the suppression when they get through.
    pub(crate) fn is_suppressible(&self) -> bool {
        self.category() != Category::Security
    }

    pub(crate) fn is_urgent(&self) -> bool {
        match self {
            // Someone sits before a form and waits for it.
            Self::Verification { .. }
            | Self::SignInCode { .. }
            | Self::PasswordResetCode { .. } => true,
            Self::AddressTaken {}
            | Self::PasswordChanged { .. }
            | Self::UnfamiliarSignIn { .. }
            | Self::Welcome { .. }
            | Self::FromService { .. } => false,
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
        .to_columns();
        assert_eq!(template, "verification");
        assert!(!data.to_string().contains("123456"));
        let Some(Message::Verification { code, .. }) = Message::from_columns(&template, &data)
        else {
            panic!("another message")
        };
        assert_eq!(sealer().open("context", &code).as_deref(), Some("123456"));

        let (template, data) = Message::AddressTaken {}.to_columns();
        assert_eq!((template.as_str(), data), ("address_taken", json!({})));
        assert!(Message::from_columns("newsletter", &json!({})).is_none());
        assert!(Message::from_columns("verification", &json!({})).is_none());
    }
}
