use kernel::person::{Invalid, is_deceptive};

/// A few words about oneself: 1 to 2,000 characters, lines allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bio(String);

impl Bio {
    pub(crate) const MAX_CHARS: usize = 2_000;

    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.replace("\r\n", "\n");
        let text = text.trim();
        if text.is_empty() {
            return Err("must not be blank; null clears it");
        }
        if text.chars().count() > Self::MAX_CHARS {
            return Err("must have at most 2000 characters");
        }
        if text
            .chars()
            .any(|c| (c.is_control() && c != '\n') || is_deceptive(c))
        {
            return Err("must be plain text");
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bios_keep_their_lines() {
        assert_eq!(Bio::parse("a\r\n\r\nb ").unwrap().0, "a\n\nb");
        assert!(Bio::parse("a\u{7}").is_err());
        assert!(Bio::parse(" \n ").is_err());
        assert!(Bio::parse(&"x".repeat(2_001)).is_err());
    }

    proptest! {
        #[test]
        fn what_is_parsed_parses_to_itself(text in "\\PC{0,120}") {
            if let Ok(bio) = Bio::parse(&text) {
                prop_assert_eq!(Bio::parse(&bio.0).unwrap(), bio);
            }
        }
    }
}
