//! Entity tags (RFC 9110 §8.8.3): strong, of the account and the version.
//!
//! `/me` is another's profile to another caller, so the account is part of the tag: two people who
//! share a browser must not be told that the one's profile is still the other's.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use kernel::UserId;

use crate::domain::Profile;

/// More tags than anybody has a use for.
const MAX_TAGS: usize = 16;

pub(crate) fn of(profile: &Profile) -> HeaderValue {
    HeaderValue::try_from(tag(profile.user_id, profile.version)).expect("hex digits and quotes")
}

fn tag(user_id: UserId, version: i64) -> String {
    format!("\"{}.{version}\"", user_id.0.simple())
}

/// A list of entity tags, or `*`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Any,
    /// The versions of this account's profile that the list names; there may be none.
    Versions(Vec<i64>),
}

impl Condition {
    /// `If-Match` compares strongly: a weak tag names nothing (RFC 9110 §13.1.1).
    pub(crate) fn strong(headers: &HeaderMap, name: HeaderName, user_id: UserId) -> Option<Self> {
        Self::read(headers, name, user_id, |tag| tag)
    }

    /// `If-None-Match` compares weakly: proxies that compress make tags weak (RFC 9110 §13.1.2).
    pub(crate) fn weak(headers: &HeaderMap, name: HeaderName, user_id: UserId) -> Option<Self> {
        Self::read(headers, name, user_id, |tag| {
            tag.strip_prefix("W/").unwrap_or(tag)
        })
    }

    /// Nothing when the header is absent.
    fn read(
        headers: &HeaderMap,
        name: HeaderName,
        user_id: UserId,
        opaque: fn(&str) -> &str,
    ) -> Option<Self> {
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
        let versions = tags
            .into_iter()
            .filter_map(|tag| version(opaque(tag), user_id))
            .collect();
        Some(Self::Versions(versions))
    }

    pub(crate) fn holds(&self, profile: &Profile) -> bool {
        match self {
            Self::Any => true,
            Self::Versions(versions) => versions.contains(&profile.version),
        }
    }
}

fn version(text: &str, user_id: UserId) -> Option<i64> {
    let (account, version) = text.strip_prefix('"')?.strip_suffix('"')?.split_once('.')?;
    let version = version.parse().ok()?;
    // Compared as a whole: `+1` and `01` are not how we write a version.
    (account == user_id.0.simple().to_string() && tag(user_id, version) == text).then_some(version)
}

#[cfg(test)]
mod tests {
    use axum::http::header::IF_MATCH;

    use super::*;

    fn user(n: u128) -> UserId {
        UserId(uuid::Uuid::from_u128(n))
    }

    fn strong(values: &[&str]) -> Option<Condition> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IF_MATCH, value.parse().unwrap());
        }
        Condition::strong(&headers, IF_MATCH, user(1))
    }

    #[test]
    fn conditions_are_read() {
        let versions = |versions: &[i64]| Some(Condition::Versions(versions.to_vec()));
        let (one, two) = (tag(user(1), 1), tag(user(1), 2));
        assert_eq!(strong(&[]), None);
        assert_eq!(strong(&["*"]), Some(Condition::Any));
        assert_eq!(strong(&[&one]), versions(&[1]));
        assert_eq!(
            strong(&[&format!(" {one} ,\"a,b\", {two}")]),
            versions(&[1, 2])
        );
        assert_eq!(strong(&[&one, &two]), versions(&[1, 2]));
        for nothing in [
            "",
            "\"\"",
            &format!("W/{one}"),
            one.trim_matches('"'),
            &tag(user(2), 1),
            &one.replace(".1", ".+1"),
            &one.replace(".1", ".01"),
            &one.replace(".1", ".99999999999999999999"),
            &format!("*, {}", tag(user(2), 1)),
        ] {
            assert_eq!(strong(&[nothing]), versions(&[]), "{nothing}");
        }
    }

    #[test]
    fn weak_comparison_takes_weak_tags() {
        let mut headers = HeaderMap::new();
        headers.insert(IF_MATCH, format!("W/{}", tag(user(1), 7)).parse().unwrap());
        let condition = Condition::weak(&headers, IF_MATCH, user(1));
        assert_eq!(condition, Some(Condition::Versions(vec![7])));
    }
}
