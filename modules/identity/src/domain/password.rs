//! Passwords as people type them.

use kernel::Secret;
use unicode_normalization::UnicodeNormalization;
use zxcvbn::zxcvbn;

use super::Invalid;

/// A password that may be tried or set: it does not print itself and is wiped when it goes.
///
/// The rules are a length, and that it is none of those that are tried first (NIST SP 800-63B-4
/// §3.1.1.2: no composition rules, at least 64 characters allowed, common ones refused). It is compared in NFKC, as the same section advises: one keyboard types
/// `ä` as one code point, another as two.
#[derive(Clone, Debug)]
pub(crate) struct Password(Secret);

impl Password {
    pub(crate) const MIN_CHARS: usize = 8;
    /// 64 characters of four bytes. Hashing takes the same time whatever the length; normalising
    /// and copying a megabyte does not.
    pub(crate) const MAX_BYTES: usize = 256;

    /// As many guesses as whoever knows common passwords and how people vary them needs at least. With
    /// guesses slowed down, nobody gets to try so many.
    const MIN_GUESSES_LOG10: f64 = 6.0;
    /// What is looked at to estimate them: the time that takes grows with the square.
    const ESTIMATED_CHARS: usize = 64;

    /// One that is to be set, by somebody of whom others know these words: address and name.
    pub(crate) fn parse(text: &Secret, words: &[&str]) -> Result<Self, Invalid> {
        let password = Self::typed(text).ok_or("must have at most 256 bytes")?;
        if password.expose().chars().count() < Self::MIN_CHARS {
            return Err("must have at least 8 characters");
        }
        // No JSON that holds it is accepted: nobody could sign in.
        if password.expose().contains('\0') {
            return Err("must not hold the character U+0000");
        }
        if password.is_common(words) {
            return Err(
                "is one of those that are tried first; take a longer one, or less usual words",
            );
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

    fn is_common(&self, words: &[&str]) -> bool {
        let text = self.expose();
        let end = text.char_indices().nth(Self::ESTIMATED_CHARS);
        let text = end.map_or(text, |(end, _)| &text[..end]);
        let parts = words
            .iter()
            .flat_map(|word| word.split(['@', '.', ' ', '-', '_']));
        let words: Vec<&str> = words
            .iter()
            .copied()
            .chain(parts)
            .filter(|w| w.len() > 2)
            .collect();
        zxcvbn(text, &words).guesses_log10() < Self::MIN_GUESSES_LOG10
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
        Password::parse(&Secret::new(text), &["ada@example.org", "Ada Lovelace"])
    }

    #[test]
    fn length_counts_and_being_uncommon() {
        assert!(parse("vkq7tz0m").is_ok());
        assert!(parse("vkq7tz0").is_err());
        assert!(parse("grüne Äpfel").is_ok());
        assert!(parse("correct horse").is_ok());
        let long: String = "vkq7 tz0m ".repeat(26);
        assert!(parse(&long[..256]).is_ok());
        assert!(parse(&long[..257]).is_err());
        // Seven characters, if a composed one counts once.
        assert!(parse("a\u{308}kq7tz0").is_err());
        for common in [
            "12345678",
            "password",
            "Passw0rd",
            "qwertyuiop",
            "iloveyou",
            "aaaaaaaaaaaaaaaa",
            "19991231",
            "adalovelace",
            "Lovelace1",
            "ada@example.org",
        ] {
            assert!(parse(common).is_err(), "{common}");
        }
        assert!(Password::typed(&Secret::new("")).is_some());
        assert!(Password::typed(&Secret::new("x".repeat(257))).is_none());
    }

    #[test]
    fn one_password_has_one_form() {
        let composed = parse("p\u{e4}ssw\u{f6}rter kq7").unwrap();
        let decomposed = parse("pa\u{308}sswo\u{308}rter kq7").unwrap();
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
