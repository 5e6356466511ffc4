//! Conditions on entity tags (RFC 9110 §13.1): an edit says which version it is of, a reader which
//! copy is at hand.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::problem::Problem;

/// More tags than anybody has a use for.
const MAX_TAGS: usize = 16;

/// A list of entity tags, or `*`.
#[derive(Debug, PartialEq, Eq)]
pub enum Condition {
    Any,
    /// With their quotes.
    Tags(Vec<String>),
}

impl Condition {
    /// `If-Match` compares strongly: a weak tag names nothing (RFC 9110 §13.1.1).
    pub fn strong(headers: &HeaderMap, name: HeaderName) -> Option<Self> {
        Self::read(headers, name, |tag| tag)
    }

    /// `If-None-Match` compares weakly: proxies that compress make tags weak (RFC 9110 §13.1.2).
    pub fn weak(headers: &HeaderMap, name: HeaderName) -> Option<Self> {
        Self::read(headers, name, |tag| tag.strip_prefix("W/").unwrap_or(tag))
    }

    /// Nothing when the header is absent.
    fn read(headers: &HeaderMap, name: HeaderName, opaque: fn(&str) -> &str) -> Option<Self> {
        let mut values = headers.get_all(name).iter().peekable();
        values.peek()?;
        // Our tags hold no comma; what a foreign one with a comma falls into names nothing.
        let tags: Vec<&str> = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .take(MAX_TAGS)
            .collect();
        if tags == ["*"] {
            return Some(Self::Any);
        }
        let tags = tags.into_iter().map(|tag| opaque(tag).to_owned());
        Some(Self::Tags(tags.collect()))
    }

    pub fn holds(&self, tag: &HeaderValue) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|given| given == tag),
        }
    }
}

/// 428: an edit must not overwrite one that its author has not seen (RFC 6585 §3).
pub fn precondition_required() -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_REQUIRED,
        "precondition-required",
        "The edit must say which version it is of",
    )
    .detail("Send the ETag of what you read as If-Match.")
}

/// 412.
pub fn precondition_failed() -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "precondition-failed",
        "It has changed since you read it",
    )
    .detail("Read it again, and repeat the edit on what it is now.")
}

#[cfg(test)]
mod tests {
    use axum::http::header::IF_MATCH;

    use super::*;

    const TAG: HeaderValue = HeaderValue::from_static("\"a1.1\"");

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IF_MATCH, value.parse().unwrap());
        }
        headers
    }

    fn strong(values: &[&str]) -> Option<bool> {
        Condition::strong(&headers(values), IF_MATCH).map(|condition| condition.holds(&TAG))
    }

    #[test]
    fn conditions_are_read() {
        assert_eq!(strong(&[]), None);
        for holds in [
            &["*"][..],
            &["\"a1.1\""],
            &[" \"a1.2\" ,\"a,b\", \"a1.1\""],
            &["\"a1.2\"", "\"a1.1\""],
        ] {
            assert_eq!(strong(holds), Some(true), "{holds:?}");
        }
        let many = "\"x\",".repeat(MAX_TAGS) + "\"a1.1\"";
        for not in [
            "",
            "\"\"",
            "W/\"a1.1\"",
            "a1.1",
            "\"b1.1\"",
            "\"a1.+1\"",
            "\"a1.01\"",
            "*, \"b1.1\"",
            &many,
        ] {
            assert_eq!(strong(&[not]), Some(false), "{not}");
        }
    }

    #[test]
    fn weak_comparison_takes_weak_tags() {
        let condition = Condition::weak(&headers(&["W/\"a1.1\""]), IF_MATCH).unwrap();
        assert!(condition.holds(&TAG));
    }
}
