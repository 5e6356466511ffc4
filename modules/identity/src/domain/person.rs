//! What a person may tell when registering; what becomes of it later is for others to say.

use std::fmt;

use super::Invalid;

/// A name to be shown: one line, 1 to 100 characters.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DisplayName(String);

impl DisplayName {
    pub(crate) const MAX_CHARS: usize = 100;

    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        match text.chars().take(Self::MAX_CHARS + 1).count() {
            0 => return Err("must not be blank; leave it out instead"),
            1..=Self::MAX_CHARS => {}
            _ => return Err("must have at most 100 characters"),
        }
        if text.chars().any(breaks_a_line) {
            return Err("must be a single line of plain text");
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Personal data: kept out of whatever prints it.
impl fmt::Debug for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DisplayName(…)")
    }
}

/// Control characters, line separators, and overrides of writing direction, which make a name read
/// as something else (Unicode TR 36 §2.5.1). Joiners stay: Persian and emoji need them.
fn breaks_a_line(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}'
        )
}

/// A language tag without extensions (RFC 5646), each subtag in its customary case (§2.1.1):
/// `de`, `pt-BR`, `zh-Hant-TW`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Locale(String);

impl Locale {
    /// Holds every tag without extensions (RFC 5646 §4.4.1).
    pub(crate) const MAX_CHARS: usize = 35;

    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        const INVALID: Invalid = "must be a language tag such as de or pt-BR";
        if text.len() > Self::MAX_CHARS {
            return Err(INVALID);
        }
        let mut tag = String::with_capacity(text.len());
        for (nr, subtag) in text.split('-').enumerate() {
            let well_formed = if nr == 0 {
                matches!(subtag.len(), 2..=3) && subtag.bytes().all(|b| b.is_ascii_alphabetic())
            } else {
                matches!(subtag.len(), 2..=8) && subtag.bytes().all(|b| b.is_ascii_alphanumeric())
            };
            if !well_formed {
                return Err(INVALID);
            }
            let subtag = subtag.to_ascii_lowercase();
            match (nr, subtag.len()) {
                (0, _) => tag.push_str(&subtag),
                (_, 2) => tag.extend(["-", &subtag.to_ascii_uppercase()]),
                (_, 4) => tag.extend(["-", &subtag[..1].to_ascii_uppercase(), &subtag[1..]]),
                _ => tag.extend(["-", &subtag]),
            }
        }
        Ok(Self(tag))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a time zone as the IANA database spells them: `Europe/Berlin`, `UTC`. Whether there
/// is such a zone is known to those who reckon with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimeZone(String);

impl TimeZone {
    pub(crate) const MAX_CHARS: usize = 64;

    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        let part = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphabetic())
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+'))
        };
        let parts: Vec<&str> = text.splitn(4, '/').collect();
        let well_formed = text.len() <= Self::MAX_CHARS
            && matches!(parts.len(), 2..=3)
            && parts.into_iter().all(part);
        if well_formed || text == "UTC" {
            Ok(Self(text.to_owned()))
        } else {
            Err("must be an IANA time zone such as Europe/Berlin")
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn display_names() {
        for (text, name) in [
            ("Ada", Some("Ada")),
            ("  Ada Lovelace \n", Some("Ada Lovelace")),
            ("علی‌رضا", Some("علی‌رضا")),
            ("👩‍🚀", Some("👩‍🚀")),
            ("<script>", Some("<script>")),
            ("", None),
            ("   ", None),
            ("a\r\nBcc: b@example.org", None),
            ("a\u{0}b", None),
            ("invoice\u{202E}fdp.exe", None),
            ("a\u{2028}b", None),
        ] {
            let parsed = DisplayName::parse(text).ok();
            assert_eq!(parsed.as_ref().map(DisplayName::as_str), name, "{text:?}");
        }
        assert!(DisplayName::parse(&"ä".repeat(100)).is_ok());
        assert!(DisplayName::parse(&"ä".repeat(101)).is_err());
    }

    #[test]
    fn locales() {
        for (text, tag) in [
            ("en", Some("en")),
            ("DE-at", Some("de-AT")),
            ("zh-hant-tw", Some("zh-Hant-TW")),
            ("es-419", Some("es-419")),
            ("sl-ROZAJ-biske", Some("sl-rozaj-biske")),
            ("ast", Some("ast")),
            ("", None),
            ("e", None),
            ("12", None),
            ("en_US", None),
            ("en-", None),
            ("-en", None),
            ("de-DE-u-co-phonebk", None),
            ("english", None),
            ("ен", None),
            ("en-verylongsubtag", None),
            ("en-latn-us-variant1-variant2-variant3", None),
        ] {
            let parsed = Locale::parse(text).ok();
            assert_eq!(parsed.as_ref().map(Locale::as_str), tag, "{text:?}");
        }
    }

    #[test]
    fn time_zones() {
        for text in [
            "UTC",
            "Europe/Berlin",
            "America/Argentina/Buenos_Aires",
            "Etc/GMT+12",
            "America/Port-au-Prince",
        ] {
            assert_eq!(TimeZone::parse(text).unwrap().as_str(), text);
        }
        let long = format!("Area/{}", "x".repeat(60));
        for text in [
            "",
            "/",
            "Berlin",
            "Europe/",
            "/Berlin",
            "../etc/passwd",
            "Europe/Berlin\0",
            "Europe/Ber lin",
            "A/B/C/D",
            "Europe//Berlin",
            &long,
        ] {
            assert!(TimeZone::parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_parsed_parses_to_itself(
            text in "\\PC{0,120}", tag in "[A-Za-z0-9-]{0,40}", zone in "[A-Za-z/_+]{0,70}"
        ) {
            if let Ok(name) = DisplayName::parse(&text) {
                prop_assert!((1..=100).contains(&name.as_str().chars().count()));
                prop_assert!(DisplayName::parse(name.as_str()).is_ok_and(|again| again == name));
            }
            if let Ok(locale) = Locale::parse(&tag) {
                prop_assert!((2..=35).contains(&locale.as_str().len()));
                prop_assert_eq!(Locale::parse(locale.as_str()).unwrap(), locale);
            }
            if let Ok(zone) = TimeZone::parse(&zone) {
                prop_assert!((1..=64).contains(&zone.as_str().len()));
            }
        }
    }
}
