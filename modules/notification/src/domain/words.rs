//! What a service says, in its own words: plain text that stays what it is wherever it is shown.

use kernel::person::{Invalid, is_deceptive};
use serde::{Deserialize, Serialize};
use url::Url;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Words {
    /// One line: it becomes the subject of a mail.
    pub(crate) title: String,
    pub(crate) body: String,
    /// http or https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) action_url: Option<Url>,
}

impl Words {
    pub(crate) const MAX_TITLE_CHARS: usize = 120;
    pub(crate) const MAX_BODY_CHARS: usize = 4_000;
    pub(crate) const MAX_URL_CHARS: usize = 2_000;

    pub(crate) fn title(text: &str) -> Result<String, Invalid> {
        let text = text.trim();
        if text.is_empty() {
            return Err("must not be blank");
        }
        if text.chars().count() > Self::MAX_TITLE_CHARS {
            return Err("must have at most 120 characters");
        }
        // CR and LF would end the header that it becomes.
        if text.chars().any(|c| c.is_control() || is_deceptive(c)) {
            return Err("must be a single line of plain text");
        }
        Ok(text.to_owned())
    }

    pub(crate) fn body(text: &str) -> Result<String, Invalid> {
        let text = text.replace("\r\n", "\n");
        let text = text.trim();
        if text.is_empty() {
            return Err("must not be blank");
        }
        if text.chars().count() > Self::MAX_BODY_CHARS {
            return Err("must have at most 4000 characters");
        }
        let is_plain = |c: char| c == '\n' || c == '\t' || !(c.is_control() || is_deceptive(c));
        if !text.chars().all(is_plain) {
            return Err("must be plain text");
        }
        Ok(text.to_owned())
    }

    /// Only what a browser opens as a page: `javascript:` and its like do something else.
    pub(crate) fn action_url(text: &str) -> Result<Url, Invalid> {
        const WRONG: Invalid = "must be an http or https URL without a password";
        if text.chars().count() > Self::MAX_URL_CHARS {
            return Err("must have at most 2000 characters");
        }
        let url = Url::parse(text).map_err(|_| WRONG)?;
        let is_page = matches!(url.scheme(), "http" | "https") && url.has_host();
        let names_someone = !url.username().is_empty() || url.password().is_some();
        if !is_page || names_someone {
            return Err(WRONG);
        }
        Ok(url)
    }

    pub(crate) fn paragraphs(&self) -> impl Iterator<Item = &str> {
        self.body
            .split("\n\n")
            .map(str::trim)
            .filter(|paragraph| !paragraph.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_plain_text_within_bounds() {
        for (title, good) in [
            ("Your order is on its way", true),
            ("  50 % <off> 🎉 ", true),
            ("", false),
            (" ", false),
            ("a\r\nBcc: eve@example.org", false),
            ("a\u{0}", false),
            ("a\u{2028}b", false),
            ("invoice\u{202E}fdp.exe", false),
        ] {
            assert_eq!(Words::title(title).is_ok(), good, "{title:?}");
        }
        assert!(Words::title(&"ä".repeat(120)).is_ok());
        assert!(Words::title(&"ä".repeat(121)).is_err());
        assert_eq!(Words::body(" a\r\n\r\nb\tc ").unwrap(), "a\n\nb\tc");
        assert!(Words::body("a\rb").is_err() && Words::body("\u{1b}[31m").is_err());
        assert!(Words::body(&"ä".repeat(4_000)).is_ok());
        assert!(Words::body(&"ä".repeat(4_001)).is_err());
    }

    #[test]
    fn an_action_opens_a_page() {
        for (url, good) in [
            ("https://shop.example/orders/1?a=b#c", true),
            ("http://localhost:3000/", true),
            ("javascript:alert(1)", false),
            ("JaVaScRiPt:alert(1)", false),
            (" javascript:alert(1)", false),
            ("data:text/html,x", false),
            ("file:///etc/passwd", false),
            ("//evil.example", false),
            ("/orders/1", false),
            ("https://bank.example@evil.example/", false),
            ("https://u:p@evil.example/", false),
            ("https://", false),
            ("", false),
        ] {
            assert_eq!(Words::action_url(url).is_ok(), good, "{url}");
        }
        let quoted = Words::action_url("https://a.example/\"><script>").unwrap();
        assert!(!quoted.as_str().contains(['"', '<', '>']), "{quoted}");
        let long = format!("https://a.example/{}", "x".repeat(2_000));
        assert!(Words::action_url(&long).is_err());
    }
}
