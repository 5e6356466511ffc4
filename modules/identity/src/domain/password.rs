//! Passwords as people type them.

use kernel::Secret;
use unicode_normalization::UnicodeNormalization;

use super::Invalid;

/// A password that may be tried or set: it does not print itself and is wiped when it goes.
///
/// Length is the only rule (NIST SP 800-63B-4 §3.1.1.2: no composition rules, at least 64
/// characters allowed). It is compared in NFKC, as the same section advises: one keyboard types
/// `ä` as one code point, another as two.
#[derive(Clone, Debug)]
pub(crate) struct Password(Secret);

impl Password {
    pub(crate) const MIN_CHARS: usize = 8;
    /// 64 characters of four bytes. Hashing takes the same time whatever the length; normalising
    /// and copying a megabyte does not.
    pub(crate) const MAX_BYTES: usize = 256;

    /// One that is to be set.
    pub(crate) fn parse(text: &Secret) -> Result<Self, Invalid> {
        let password = Self::typed(text).ok_or("must have at most 256 bytes")?;
        if password.expose().chars().count() < Self::MIN_CHARS {
            return Err("must have at least 8 characters");
        }
        // No JSON that holds it is accepted: nobody could sign in.
        if password.expose().contains('\0') {
            return Err("must not hold the character U+0000");
        }
        Ok(password)
    }

    /// One that is to be tried: as short as it may be, since the rule may have been another when
    /// it was set. Nothing when it is longer than any that could have been set.
    pub(crate) fn typed(text: &Secret) -> Option<Self> {
        let text = text.expose();
        (text.len() <= Self::MAX_BYTES).then(|| {
            // Room for all of it: a string that grows leaves its earlier copies behind unwiped.
            let mut normal = String::with_capacity(text.len() * MAX_NFKC_EXPANSION);
            normal.extend(text.nfkc());
            Self(Secret::new(normal))
        })
    }

    pub(crate) fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// The worst character, U+FDFA, grows from 3 bytes to 33 (Unicode Annex 15, "Stability").
const MAX_NFKC_EXPANSION: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Password, Invalid> {
        Password::parse(&Secret::new(text))
    }

    #[test]
    fn only_the_length_counts() {
        assert!(parse("12345678").is_ok());
        assert!(parse("1234567").is_err());
        assert!(parse("pässwört").is_ok());
        assert!(parse(&"x".repeat(256)).is_ok());
        assert!(parse(&"x".repeat(257)).is_err());
        assert!(parse("   \t    ").is_ok());
        // Seven characters, if a composed one counts once.
        assert!(parse("a\u{308}234567").is_err());
        assert!(Password::typed(&Secret::new("")).is_some());
        assert!(Password::typed(&Secret::new("x".repeat(257))).is_none());
    }

    #[test]
    fn one_password_has_one_form() {
        let composed = parse("p\u{e4}ssw\u{f6}rter").unwrap();
        let decomposed = parse("pa\u{308}sswo\u{308}rter").unwrap();
        assert_eq!(composed.expose(), decomposed.expose());
        assert_eq!(format!("{composed:?}"), "Password(Secret(…))");
    }

    #[test]
    fn normalising_never_outgrows_its_buffer() {
        for c in '\0'..=char::MAX {
            let grown: usize = c.nfkc().map(char::len_utf8).sum();
            assert!(grown <= c.len_utf8() * MAX_NFKC_EXPANSION, "{c:?}: {grown}");
        }
    }
}
