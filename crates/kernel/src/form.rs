//! Forms of pages that come back with what is wrong.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use url::form_urlencoded;

use crate::{
    language::{Language, Text},
    problem::FieldError,
};

/// What is wrong with a form.
#[derive(Clone, Debug)]
pub struct Wrong {
    /// With which the form comes back.
    pub status: StatusCode,
    /// With the whole of it.
    pub alert: Option<Text>,
    fields: Vec<FieldError>,
    sentences: fn(&str) -> Option<Text>,
}

impl Default for Wrong {
    /// Nothing is.
    fn default() -> Self {
        Self {
            status: StatusCode::OK,
            alert: None,
            fields: Vec::new(),
            sentences: |_| None,
        }
    }
}

impl Wrong {
    /// The whole of it is.
    pub fn whole(status: StatusCode, alert: Text) -> Self {
        Self {
            status,
            alert: Some(alert),
            ..Self::default()
        }
    }

    /// Some fields are. `sentences` puts what the module's own rules say into people's languages; what
    /// those of [`person`](crate::person) say is known here.
    pub fn fields(fields: Vec<FieldError>, sentences: fn(&str) -> Option<Text>) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            fields,
            sentences,
            ..Self::default()
        }
    }

    /// What a form can say of an error; the error again if it is none of the form's.
    pub fn with<E: TryInto<Self, Error = E>>(error: E) -> Result<Self, E> {
        error.try_into()
    }

    pub fn any(&self) -> bool {
        self.alert.is_some() || !self.fields.is_empty()
    }

    /// What is wrong with a field, in the page's language. A field within others is named by its path:
    /// `links/0/url`.
    pub fn of(&self, field: &str, language: &Language) -> Option<&str> {
        let name = |error: &FieldError| error.field.trim_start_matches('/') == field;
        let found = self.fields.iter().find(|error| name(error))?;
        let text = (self.sentences)(&found.message).or_else(|| of_person(&found.message));
        Some(match text {
            Some(text) => text.of(language),
            None => &found.message,
        })
    }
}

/// What the rules of [`person`](crate::person) say, as a sentence.
pub fn of_person(message: &str) -> Option<Text> {
    Some(match message {
        "must not be blank" => Text::new("Nothing is to be seen of it.", "Es ist nichts zu sehen."),
        "must have at most 100 characters" => Text::new(
            "It has more than 100 characters.",
            "Es sind mehr als 100 Zeichen.",
        ),
        "must be a single line of plain text" => Text::new(
            "It must be a single line of plain text.",
            "Es muss eine einzelne Zeile Text sein.",
        ),
        "must be a language tag such as de or pt-BR" => {
            Text::new("Choose a language.", "Wählen Sie eine Sprache.")
        }
        "must be an IANA time zone such as Europe/Berlin" => {
            Text::new("Choose a time zone.", "Wählen Sie eine Zeitzone.")
        }
        _ => return None,
    })
}

/// After a form has done what it was for: reloading the page that comes does not send it again.
pub fn see_other(path: &str) -> Response {
    Redirect::to(path).into_response()
}

/// A path with a query. What is empty is left out.
pub fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::person::{DisplayName, Locale, TimeZone};

    #[test]
    fn every_rule_of_a_person_speaks_each_language() {
        let long = "x".repeat(101);
        for message in [
            DisplayName::parse(" ").unwrap_err(),
            DisplayName::parse(&long).unwrap_err(),
            DisplayName::parse("a\u{202e}b").unwrap_err(),
            Locale::parse("?").unwrap_err(),
            TimeZone::parse("?").unwrap_err(),
        ] {
            assert!(of_person(message).is_some(), "{message}");
        }
    }

    #[test]
    fn a_field_is_found_by_its_path() {
        let wrong = Wrong::fields(
            vec![FieldError::new("/links/1/url", "must be better")],
            |message| (message == "must be better").then(|| Text::new("Better.", "Besser.")),
        );
        assert_eq!(wrong.of("links/1/url", &Language::De), Some("Besser."));
        assert_eq!(wrong.of("url", &Language::De), None);
        assert!(wrong.any() && !Wrong::default().any());
    }

    #[test]
    fn queries_are_escaped_and_empty_values_left_out() {
        let pairs = [("to", "a&b=c@example.org"), ("status", "")];
        assert_eq!(
            with_query("/admin/mails", &pairs),
            "/admin/mails?to=a%26b%3Dc%40example.org"
        );
        assert_eq!(with_query("/admin/mails", &[]), "/admin/mails");
    }
}
