use kernel::person::{Invalid, is_invisible, is_line};
use serde::{Deserialize, Serialize};
use url::Url;

/// Somewhere else to find a person: what it is called, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    pub(crate) label: String,
    /// As a browser would write it (WHATWG URL): what was checked is what is followed.
    pub(crate) url: String,
}

impl Link {
    pub(crate) const MAX_LINKS: usize = 10;
    pub(crate) const MAX_LABEL_CHARS: usize = 50;
    pub(crate) const MAX_URL_BYTES: usize = 500;

    /// # Errors
    /// The member that is wrong, and why.
    pub(crate) fn parse(label: &str, url: &str) -> Result<Self, (&'static str, Invalid)> {
        Ok(Self {
            label: parse_label(label).map_err(|invalid| ("label", invalid))?,
            url: parse_url(url).map_err(|invalid| ("url", invalid))?,
        })
    }
}

fn parse_label(text: &str) -> Result<String, Invalid> {
    let text = text.trim();
    if text.chars().all(is_invisible) {
        return Err("must not be blank");
    }
    if text.chars().nth(Link::MAX_LABEL_CHARS).is_some() {
        return Err("must have at most 50 characters");
    }
    if !is_line(text) {
        return Err("must be a single line of plain text");
    }
    Ok(text.to_owned())
}

/// Schemes are those named, and no others: a browser runs what a `javascript:` or `data:` URL holds.
fn parse_url(text: &str) -> Result<String, Invalid> {
    const TOO_LONG: Invalid = "must have at most 500 bytes";
    let text = text.trim();
    if text.len() > Link::MAX_URL_BYTES {
        return Err(TOO_LONG);
    }
    // The parser would drop tabs and line breaks within, and the scheme be another than it looks.
    if !is_line(text) || text.contains(char::is_whitespace) {
        return Err("must be a URL without white space");
    }
    let url = Url::parse(text).map_err(|_| "must be a URL such as https://example.org")?;
    match url.scheme() {
        "https" | "http" => {
            // `https://example.org@evil.example` shows one host and leads to another.
            if !url.username().is_empty() || url.password().is_some() {
                return Err("must not hold a user name or password");
            }
        }
        // Fields after ? could fill in a mail (RFC 6068 §2), and in its path a mail can have many
        // addressees.
        "mailto" => {
            let one = url.path().split_once('@').is_some_and(|(local, domain)| {
                let plain = |part: &str| !part.is_empty() && !part.contains(['@', ',', '%']);
                plain(local) && plain(domain)
            });
            if !one || url.query().is_some() || url.fragment().is_some() {
                return Err("must be mailto: with one address and nothing else");
            }
        }
        _ => return Err("must begin with https://, http:// or mailto:"),
    }
    // Grown by its escapes, perhaps.
    if url.as_str().len() > Link::MAX_URL_BYTES {
        return Err(TOO_LONG);
    }
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn urls_lead_where_they_seem_to() {
        for (text, url) in [
            ("https://example.org", Some("https://example.org/")),
            (
                " HTTP://Example.org/a?b#c ",
                Some("http://example.org/a?b#c"),
            ),
            (
                "https://bücher.example/ä",
                Some("https://xn--bcher-kva.example/%C3%A4"),
            ),
            ("mailto:ada@example.org", Some("mailto:ada@example.org")),
            ("javascript:alert(1)", None),
            ("JavaScript:alert(1)", None),
            ("java\nscript:alert(1)", None),
            ("\u{1}javascript:alert(1)", None),
            ("data:text/html,<script>", None),
            ("vbscript:x", None),
            ("file:///etc/passwd", None),
            ("ftp://example.org", None),
            ("blob:https://example.org/1", None),
            ("//example.org", None),
            ("/relative", None),
            ("example.org", None),
            ("https://", None),
            ("https://ada@example.org", None),
            ("https://ada:secret@example.org", None),
            ("https://:secret@example.org", None),
            ("https:ada@example.org", None),
            ("https://exa mple.org", None),
            ("mailto:", None),
            ("mailto:ada", None),
            ("mailto:ada@example.org,eve@example.org", None),
            ("mailto:ada@example.org?bcc=eve@example.org", None),
            ("mailto:ada%0Abcc:eve@example.org", None),
            ("", None),
        ] {
            assert_eq!(parse_url(text).ok().as_deref(), url, "{text:?}");
        }
        let long = |n: usize| format!("https://e.org/{}", "x".repeat(n));
        assert!(parse_url(&long(486)).is_ok());
        assert!(parse_url(&long(487)).is_err());
        assert!(parse_url(&format!("https://e.org/{}", "ä".repeat(200))).is_err());
    }

    #[test]
    fn labels_are_short_lines() {
        assert_eq!(parse_label(" Blog ").unwrap(), "Blog");
        for text in ["", " ", "\u{200B}", "a\nb", "a\u{202E}b", &"x".repeat(51)] {
            assert!(parse_label(text).is_err(), "{text:?}");
        }
        assert_eq!(Link::parse("", "x").unwrap_err().0, "label");
        assert_eq!(Link::parse("x", "x").unwrap_err().0, "url");
    }

    proptest! {
        #[test]
        fn what_is_parsed_parses_to_itself_and_is_safe(
            text in "(https?:|mailto:|javascript:|data:)?(//)?[\\PC\\t\\n]{0,40}"
        ) {
            if let Ok(url) = parse_url(&text) {
                prop_assert!(url.len() <= Link::MAX_URL_BYTES);
                prop_assert!(url.bytes().all(|b| b.is_ascii_graphic()));
                prop_assert!(["https://", "http://", "mailto:"].iter().any(|s| url.starts_with(s)));
                prop_assert_eq!(parse_url(&url).unwrap(), url);
            }
        }
    }
}
