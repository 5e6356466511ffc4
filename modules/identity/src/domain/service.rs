//! What a service signs in as, with and for.

use kernel::{
    Secret, World,
    secret::{constant_time_eq, random_token, token_digest},
};

use super::Invalid;

/// The client of people who sign in here directly, rather than through another application. No
/// service has this id.
pub(crate) const FIRST_PARTY: &str = "first-party";

/// The id of a service, chosen by the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientId(String);

impl ClientId {
    /// Shorter than any spelling of a UUID: no service can have the id of a user.
    const MAX_BYTES: usize = 30;

    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        let slug = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let good = text.len() <= Self::MAX_BYTES
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(slug)
            && text != FIRST_PARTY;
        good.then(|| Self(text.to_owned()))
            .ok_or("must have 1 to 30 lower-case letters, digits or dashes, a letter first")
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a service may do, or asks for: each scope once, in alphabetical order, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scopes(Vec<String>);

impl Scopes {
    /// All of them together: tokens carry them, and verifiers refuse tokens beyond 4 KiB.
    const MAX_BYTES: usize = 1_024;

    pub(crate) fn parse<'a>(scopes: impl IntoIterator<Item = &'a str>) -> Result<Self, Invalid> {
        let mut parsed = Vec::new();
        let mut bytes = 0;
        for scope in scopes {
            bytes += scope.len() + 1;
            if bytes > Self::MAX_BYTES + 1 {
                return Err("must have at most 1024 characters, all scopes together");
            }
            // RFC 6749 §3.3.
            let token = |c: u8| matches!(c, 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
            if scope.is_empty() || !scope.bytes().all(token) {
                return Err("must be printable ASCII without spaces, quotes and backslashes");
            }
            parsed.push(scope.to_owned());
        }
        parsed.sort_unstable();
        parsed.dedup();
        if parsed.is_empty() {
            return Err("must be given");
        }
        Ok(Self(parsed))
    }

    /// As stored: parsed once already.
    pub(crate) fn stored(scopes: Vec<String>) -> Self {
        Self(scopes)
    }

    pub(crate) fn as_slice(&self) -> &[String] {
        &self.0
    }

    pub(crate) fn includes(&self, other: &Self) -> bool {
        other.0.iter().all(|scope| self.0.contains(scope))
    }

    /// Space-separated, as tokens and answers carry them.
    pub(crate) fn joined(&self) -> String {
        self.0.join(" ")
    }
}

/// A service's secret: `bys_` and 256 random bits. The prefix is what scanners for leaked secrets
/// find it by.
#[derive(Clone, Debug)]
pub(crate) struct ServiceSecret(Secret);

impl ServiceSecret {
    const PREFIX: &str = "bys_";
    /// 32 bytes in base64url.
    const RANDOM_CHARS: usize = 43;

    pub(crate) fn random(world: &World) -> Self {
        let random = random_token(world);
        Self(Secret::new(format!("{}{}", Self::PREFIX, random.expose())))
    }

    /// Nothing when we cannot have made it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let random = text.strip_prefix(Self::PREFIX)?;
        let base64url = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        let well_formed = random.len() == Self::RANDOM_CHARS && random.bytes().all(base64url);
        well_formed.then(|| Self(Secret::new(text)))
    }

    pub(crate) fn expose(&self) -> &str {
        self.0.expose()
    }

    /// What is stored of it.
    pub(crate) fn digest(&self) -> [u8; 32] {
        token_digest(self.expose())
    }

    /// Is it the one of which this digest is stored?
    pub(crate) fn matches(&self, digest: &[u8]) -> bool {
        constant_time_eq(&self.digest(), digest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_are_slugs_that_are_no_uuids() {
        for good in ["a", "edge", "log-shipper-2", &"a".repeat(30)] {
            assert_eq!(ClientId::parse(good).unwrap().as_str(), good);
        }
        let uuid = "a".repeat(32);
        assert!(uuid.parse::<uuid::Uuid>().is_ok());
        for bad in [
            "",
            "Edge",
            "2edge",
            "-a",
            "a b",
            "a_b",
            "ä",
            "a:b",
            "a\n",
            &uuid,
            FIRST_PARTY,
        ] {
            assert!(ClientId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn scopes_are_those_of_rfc_6749() {
        let scopes = Scopes::parse(["logs:write", "a", "logs:write"]).unwrap();
        assert_eq!(scopes.joined(), "a logs:write");
        assert!(scopes.includes(&Scopes::parse(["a"]).unwrap()));
        assert!(!scopes.includes(&Scopes::parse(["a", "b"]).unwrap()));
        assert!(Scopes::parse(["https://other.test/scope?x=1#y"]).is_ok());
        assert!(Scopes::parse([&*"a".repeat(1_024)]).is_ok());
        assert!(Scopes::parse([&*"a".repeat(1_025)]).is_err());
        assert!(Scopes::parse(["b"; 600]).is_err());
        assert!(Scopes::parse([]).is_err());
        for bad in ["", "a b", "a\"", "a\\", "ä", "a\t", "a\u{7f}"] {
            assert!(Scopes::parse([bad]).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn secrets_round_trip_and_only_ours_parse(seed: u64, text in "\\PC{0,60}") {
            let world = World {
                random: std::sync::Arc::new(kernel::SeededRandom::new(seed)),
                ..World::system()
            };
            let secret = ServiceSecret::random(&world);
            let again = ServiceSecret::parse(secret.expose()).unwrap();
            prop_assert!(again.matches(&secret.digest()));
            prop_assert!(!ServiceSecret::random(&world).matches(&secret.digest()));
            let shown = format!("{secret:?}");
            prop_assert!(!shown.contains(secret.expose()));
            for forged in [&text, &secret.expose()[1..], &format!("{} ", secret.expose())] {
                prop_assert!(ServiceSecret::parse(forged).is_none());
            }
        }
    }
}
