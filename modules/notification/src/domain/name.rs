//! Names that people gave themselves, where others read them.

/// A name that is only a name in plain text: one line, short, nothing that a mail program makes a
/// link of. In HTML it is escaped besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SafeName(String);

impl SafeName {
    const MAX_CHARS: usize = 60;

    /// Nothing when no name is left.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let mut safe = String::new();
        let mut chars = name.chars().take(Self::MAX_CHARS).peekable();
        while let Some(c) = chars.next() {
            match c {
                // A link needs a scheme, a path or a mailbox; CR and LF end a header or a line; the
                // others hide or turn around what follows (Unicode TR 36 §2.5.1).
                '/'
                | '\\'
                | ':'
                | '@'
                | '<'
                | '>'
                | '['
                | ']'
                | '('
                | ')'
                | '\u{200B}'
                | '\u{200E}'
                | '\u{200F}'
                | '\u{202A}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{FEFF}' => safe.push(' '),
                c if c.is_control() || c.is_whitespace() => safe.push(' '),
                // `J.R.R. Tolkien` stays readable and `example.org` is no longer a domain. The
                // others are read as dots in domains (RFC 3490 §3.1).
                '.' | '\u{3002}' | '\u{FF0E}' | '\u{FF61}' => {
                    safe.push('.');
                    if chars.peek().is_some_and(|next| next.is_alphanumeric()) {
                        safe.push(' ');
                    }
                }
                c => safe.push(c),
            }
        }
        let safe = safe.split_whitespace().collect::<Vec<_>>().join(" ");
        (!safe.is_empty()).then_some(Self(safe))
    }
}

impl std::fmt::Display for SafeName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_stay_names_and_links_do_not_stay_links() {
        for (name, safe) in [
            ("Ada Lovelace", Some("Ada Lovelace")),
            ("J.R.R. Tolkien", Some("J. R. R. Tolkien")),
            ("O'Brien-Müller, Jr.", Some("O'Brien-Müller, Jr.")),
            ("علی‌رضا", Some("علی‌رضا")),
            ("https://evil.example/x", Some("https evil. example x")),
            ("win at evil。example", Some("win at evil. example")),
            ("a@b.example", Some("a b. example")),
            ("Ada\r\nBcc: b@example.org", Some("Ada Bcc b example. org")),
            ("\u{202E}gnp.exe", Some("gnp. exe")),
            ("\u{200B} \u{FEFF}\0", None),
            ("", None),
        ] {
            assert_eq!(
                SafeName::new(name).map(|n| n.0).as_deref(),
                safe,
                "{name:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_name_breaks_its_line_or_is_a_link(name in "\\PC{0,80}|[a-z:/.@\\r\\n\\t]{0,80}") {
            if let Some(SafeName(safe)) = SafeName::new(&name) {
                prop_assert!(safe.chars().count() <= 120);
                prop_assert!(!safe.contains(['\r', '\n', '\t', '/', '@', ':', '<']));
                for (dot, _) in safe.match_indices('.') {
                    let next = safe[dot + 1..].chars().next();
                    prop_assert!(!next.is_some_and(char::is_alphanumeric), "{}", safe);
                }
            }
        }
    }
}
