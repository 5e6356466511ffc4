//! Forms that come back with what is wrong.

use axum::{http::StatusCode, response::Response};
pub(super) use kernel::form::{Wrong, see_other, with_query};
use kernel::{Secret, Text};
use serde::Deserialize;

use super::texts;
use crate::{http::error::Error, passwords::HashError};

impl TryFrom<Error> for Wrong {
    type Error = Error;

    fn try_from(error: Error) -> Result<Self, Error> {
        Ok(match error {
            Error::Invalid(fields) => Self::fields(fields, invalid),
            Error::InvalidCredentials => wrong(texts::WRONG_CREDENTIALS),
            Error::VerificationFailed => wrong(texts::WRONG_CODE),
            Error::EmailTaken => wrong(texts::EMAIL_TAKEN),
            Error::Suspended => Self::whole(StatusCode::FORBIDDEN, texts::SUSPENDED),
            Error::TooManyAttempts { .. } => {
                Self::whole(StatusCode::TOO_MANY_REQUESTS, texts::TOO_MANY)
            }
            Error::Hash(HashError::Busy) => {
                Self::whole(StatusCode::SERVICE_UNAVAILABLE, texts::BUSY)
            }
            error => return Err(error),
        })
    }
}

fn wrong(alert: Text) -> Wrong {
    Wrong::whole(StatusCode::UNPROCESSABLE_ENTITY, alert)
}

/// What the rules say of a field, as a sentence.
fn invalid(message: &str) -> Option<Text> {
    const fn text(en: &'static str, de: &'static str) -> Option<Text> {
        Some(Text::new(en, de))
    }
    match message {
        "must have at least 8 characters" => text(
            "It must have at least 8 characters.",
            "Es braucht mindestens 8 Zeichen.",
        ),
        "must have at most 256 bytes" => text("It is too long.", "Es ist zu lang."),
        "is one of those that are tried first; take a longer one, or less usual words" => text(
            "It is one of those that are tried first. Take a longer one, or less usual words.",
            "Es ist eines von denen, die zuerst probiert werden. Nehmen Sie ein längeres, oder \
             seltenere Wörter.",
        ),
        "is not the password" => Some(texts::CURRENT_WRONG),
        "must have at most 254 bytes" | "must be an email address such as ada@example.org" => text(
            "This can be no address. It looks like ada@example.org.",
            "Das kann keine Adresse sein. Sie sieht aus wie ada@example.org.",
        ),
        _ => None,
    }
}

/// Where to go on: a page of ours. Anything else would be an open redirect.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "String")]
pub(super) struct Next(String);

impl From<String> for Next {
    fn from(text: String) -> Self {
        // One slash, then no other and no backslash, which browsers take for one.
        let bytes = text.as_bytes();
        let plain = bytes
            .iter()
            .all(|c| (0x21..0x7f).contains(c) && *c != b'\\');
        let local = bytes.first() == Some(&b'/') && bytes.get(1) != Some(&b'/');
        let good = local && plain && text.len() <= 2_000;
        Self(if good { text } else { String::new() })
    }
}

impl Next {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Goes there, or to one's account.
    pub(super) fn redirect(&self) -> Response {
        let to = if self.0.is_empty() {
            "/account"
        } else {
            &self.0
        };
        see_other(to)
    }
}

/// An empty field of a form is one that was left out.
pub(super) fn filled(secret: Option<Secret>) -> Option<Secret> {
    secret.filter(|secret| !secret.expose().is_empty())
}

#[cfg(test)]
mod tests {
    use kernel::form::of_person;

    use super::*;

    #[test]
    fn only_our_own_pages_come_next() {
        let next = |text: &str| Next::from(text.to_owned()).0;
        for good in ["/account", "/admin/users?q=a%20b", "/a//b", "/"] {
            assert_eq!(next(good), good);
        }
        for bad in [
            "",
            "account",
            "//evil.test",
            "/\\evil.test",
            "https://evil.test",
            "javascript:alert(1)",
            "/a b",
            "/a\r\nSet-Cookie: x=1",
            "/ä",
        ] {
            assert_eq!(next(bad), "", "{bad}");
        }
    }

    #[test]
    fn every_rule_speaks_each_language() {
        use crate::domain::{DisplayName, Email, Password};
        let long = "x".repeat(300);
        for text in ["short", &long, "password", "", "a b", "@", "a\u{202e}b"] {
            for message in [
                Email::parse(text).err(),
                Password::parse(&Secret::new(text), &[]).err(),
                DisplayName::parse(text).err().filter(|_| !text.is_empty()),
            ] {
                let said = |m| invalid(m).or_else(|| of_person(m)).is_some();
                assert!(message.is_none_or(said), "{message:?}");
            }
        }
    }
}
