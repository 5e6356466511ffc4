//! Refresh tokens.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use kernel::{
    Secret, SessionId,
    secret::{Key, constant_time_eq},
};
use uuid::Uuid;

/// A refresh token: `<session>.<generation>.<HMAC of both>`.
///
/// It is derived, not drawn: whoever has the key can say the successor of a token again, so an
/// answer that was lost on its way is repeated instead of logging somebody out, and the database
/// holds nothing that could be presented. One that we did not issue is refused by its HMAC alone,
/// before the database hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefreshToken {
    pub(crate) session: SessionId,
    /// From 1; each exchange gives the next.
    pub(crate) generation: i64,
}

impl RefreshToken {
    /// 32 hex digits, the largest generation and 32 bytes in base64url, with two dots between.
    const MAX_BYTES: usize = 32 + 1 + 19 + 1 + 43;

    pub(crate) fn encode(self, key: &Key) -> Secret {
        let mac = BASE64_URL_SAFE_NO_PAD.encode(self.mac(key));
        let session = self.session.0.simple();
        Secret::new(format!("{session}.{}.{mac}", self.generation))
    }

    /// Nothing when we did not issue it.
    pub(crate) fn decode(key: &Key, token: &str) -> Option<Self> {
        if token.len() > Self::MAX_BYTES {
            return None;
        }
        let mut parts = token.split('.');
        let (session, generation, mac) = (parts.next()?, parts.next()?, parts.next()?);
        let decoded = Self {
            session: SessionId(Uuid::try_parse(session).ok()?),
            generation: generation.parse().ok()?,
        };
        let mac = BASE64_URL_SAFE_NO_PAD.decode(mac).ok()?;
        // Other spellings of the same id and number are ours all the same: the HMAC is over the
        // values. But there is nothing before the first generation, nor after the last.
        let ours = parts.next().is_none()
            && (1..i64::MAX - 1).contains(&decoded.generation)
            && constant_time_eq(&mac, &decoded.mac(key));
        ours.then_some(decoded)
    }

    fn mac(self, key: &Key) -> [u8; 32] {
        key.mac(&[self.session.0.as_bytes(), &self.generation.to_be_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 32] = [5; 32];

    proptest! {
        #[test]
        fn tokens_round_trip_and_change_in_no_place(
            session: u128, generation in 1..i64::MAX - 1, at in 0..96_usize, to in "[a-zA-Z0-9._-]"
        ) {
            let key = Key::new(KEY);
            let token = RefreshToken { session: SessionId(Uuid::from_u128(session)), generation };
            let text = token.encode(&key);
            prop_assert_eq!(RefreshToken::decode(&key, text.expose()), Some(token));
            prop_assert_eq!(RefreshToken::decode(&Key::new([6; 32]), text.expose()), None);

            let mut forged = text.expose().to_owned();
            if at < forged.len() {
                forged.replace_range(at..=at, &to);
                if !forged.eq_ignore_ascii_case(text.expose()) {
                    prop_assert_eq!(RefreshToken::decode(&key, &forged), None);
                }
            }
        }

        #[test]
        fn nothing_typed_panics(text in "\\PC{0,120}") {
            prop_assert_eq!(RefreshToken::decode(&Key::new(KEY), &text), None);
        }
    }

    #[test]
    fn the_same_token_is_derived_again() {
        let key = Key::new(KEY);
        let session = SessionId(Uuid::from_u128(7));
        let token = |generation| RefreshToken {
            session,
            generation,
        };
        let [first, again, next] = [1, 1, 2].map(|g| token(g).encode(&key));
        assert_eq!(first.expose(), again.expose());
        assert_ne!(first.expose(), next.expose());
        for generation in [0, -1, i64::MAX] {
            let text = token(generation).encode(&key);
            assert_eq!(RefreshToken::decode(&key, text.expose()), None);
        }
        // Cut, doubled, or with something after it.
        let text = first.expose();
        for forged in [
            &text[..text.len() - 1],
            &format!("{text}."),
            &format!("{text}.x"),
            &format!("{text}{text}"),
            "..",
            "",
        ] {
            assert_eq!(RefreshToken::decode(&key, forged), None, "{forged}");
        }
    }
}
