//! Forms that come back with what is wrong.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use kernel::{FieldError, Language, Secret, Text};
use serde::Deserialize;
use url::form_urlencoded;

use super::texts;
use crate::{http::error::Error, passwords::HashError};

/// What is wrong with a form.
#[derive(Default)]
pub(super) struct Wrong {
    /// With which the form comes back.
    pub(super) status: StatusCode,
    /// With the whole of it.
    pub(super) alert: Option<Text>,
    fields: Vec<FieldError>,
}

impl Wrong {
    pub(super) fn any(&self) -> bool {
        self.alert.is_some() || !self.fields.is_empty()
    }

    /// What is wrong with a field, in the page's language.
    pub(super) fn of(&self, field: &str, language: &Language) -> Option<&str> {
        let name = |error: &FieldError| error.field.trim_start_matches('/') == field;
        let found = self.fields.iter().find(|error| name(error))?;
        Some(match invalid(&found.message) {
            Some(text) => text.of(language),
            None => &found.message,
        })
    }

    /// What a form can say of an error; the error again if it is none of the form's.
    pub(super) fn with(error: Error) -> Result<Self, Error> {
        let wrong = StatusCode::UNPROCESSABLE_ENTITY;
        let (status, alert, fields) = match error {
            Error::Invalid(fields) => (wrong, None, fields),
            Error::InvalidCredentials => (wrong, Some(texts::WRONG_CREDENTIALS), vec![]),
            Error::VerificationFailed => (wrong, Some(texts::WRONG_CODE), vec![]),
            Error::EmailTaken => (wrong, Some(texts::EMAIL_TAKEN), vec![]),
            Error::Suspended => (StatusCode::FORBIDDEN, Some(texts::SUSPENDED), vec![]),
            Error::TooManyAttempts { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, Some(texts::TOO_MANY), vec![])
            }
            Error::Hash(HashError::Busy) => {
                (StatusCode::SERVICE_UNAVAILABLE, Some(texts::BUSY), vec![])
            }
            error => return Err(error),
        };
        Ok(Self {
            status,
            alert,
            fields,
        })
    }
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
        "must be a single line of plain text" => text(
            "It must be a single line of plain text.",
            "Es muss eine einzelne Zeile Text sein.",
        ),
        "must have at most 100 characters" => text("It is too long.", "Er ist zu lang."),
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

pub(super) fn see_other(path: &str) -> Response {
    Redirect::to(path).into_response()
}

/// A path with a query.
pub(super) fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    let query = query.finish();
    if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    }
}

/// An empty field of a form is one that was left out.
pub(super) fn filled(secret: Option<Secret>) -> Option<Secret> {
    secret.filter(|secret| !secret.expose().is_empty())
}

#[cfg(test)]
mod tests {
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
                assert!(message.is_none_or(|m| invalid(m).is_some()), "{message:?}");
            }
        }
    }
}
