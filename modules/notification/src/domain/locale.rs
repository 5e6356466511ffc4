//! Which language a person is written to in.

/// The languages that there are texts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Locale {
    En,
    De,
}

impl Locale {
    pub(crate) const ALL: [Self; 2] = [Self::En, Self::De];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::De => "de",
        }
    }

    /// The nearest to a language tag, by dropping subtags from its end (RFC 4647 §3.4): `de-AT`
    /// becomes `de`; what there is no text for becomes `en`.
    pub(crate) fn nearest(tag: &str) -> Self {
        let mut tag = tag;
        loop {
            match tag.to_ascii_lowercase().as_str() {
                "en" => return Self::En,
                "de" => return Self::De,
                _ => match tag.rsplit_once('-') {
                    Some((shorter, _)) => tag = shorter,
                    None => return Self::En,
                },
            }
        }
    }
}

/// A language tag as it came with an event, or `en` if it is none that a column could hold.
pub(crate) fn language_tag(tag: &str) -> &str {
    let plain = tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if plain && (2..=35).contains(&tag.len()) {
        tag
    } else {
        "en"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_fall_back_to_shorter_ones_and_then_to_english() {
        for (tag, locale) in [
            ("de", Locale::De),
            ("de-AT", Locale::De),
            ("DE-Latn-CH-1996", Locale::De),
            ("en-GB", Locale::En),
            ("fr", Locale::En),
            ("den", Locale::En),
            ("", Locale::En),
            ("-", Locale::En),
        ] {
            assert_eq!(Locale::nearest(tag), locale, "{tag}");
        }
        assert_eq!(language_tag("pt-BR"), "pt-BR");
        for odd in ["", "x", "de_DE", "dé", &"a".repeat(36)] {
            assert_eq!(language_tag(odd), "en", "{odd}");
        }
    }
}
