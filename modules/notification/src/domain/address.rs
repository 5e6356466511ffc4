//! Addresses that may be written into an envelope.

/// An address that is safe in an SMTP command and in a header: no control characters, no spaces, no
/// brackets, within the limits of RFC 5321 §4.5.3.1, the domain in ASCII (RFC 5890).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MailAddress {
    local: String,
    domain: String,
}

impl MailAddress {
    /// What columns hold.
    pub(crate) const MAX_CHARS: usize = 320;

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (local, domain) = text.rsplit_once('@')?;
        // Quoted local parts are legal, unused, and the way to smuggle what must not be in there.
        let safe = |c: char| !c.is_control() && !c.is_whitespace() && !"\"<>()[],;:\\@".contains(c);
        if local.is_empty() || local.len() > 64 || !local.chars().all(safe) {
            return None;
        }
        let url::Host::Domain(domain) = url::Host::parse(domain).ok()? else {
            return None;
        };
        let dotted = domain.contains('.') || domain == "localhost";
        (dotted && domain.len() <= 253).then(|| Self {
            local: local.to_owned(),
            domain,
        })
    }

    pub(crate) fn local(&self) -> &str {
        &self.local
    }

    pub(crate) fn domain(&self) -> &str {
        &self.domain
    }
}

impl std::fmt::Display for MailAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses() {
        for (text, address) in [
            ("ada@example.org", Some("ada@example.org")),
            (
                "Ada.Lovelace+x@Example.ORG",
                Some("Ada.Lovelace+x@example.org"),
            ),
            ("ädä@bücher.example", Some("ädä@xn--bcher-kva.example")),
            ("root@localhost", Some("root@localhost")),
            ("", None),
            ("ada", None),
            ("@example.org", None),
            ("ada@", None),
            ("ada@host", None),
            ("ada@127.0.0.1", None),
            ("ada@[127.0.0.1]", None),
            ("a b@example.org", None),
            ("\"a b\"@example.org", None),
            ("ada@example.org\r\nRCPT TO:<b@example.org>", None),
            ("ada\r\nBcc: b@example.org@example.org", None),
            ("ada>@example.org", None),
            ("ada\0@example.org", None),
            ("a@b@example.org", None),
            ("ada@exa mple.org", None),
        ] {
            let parsed = MailAddress::parse(text).map(|a| a.to_string());
            assert_eq!(parsed.as_deref(), address, "{text:?}");
        }
        assert!(MailAddress::parse(&format!("{}@example.org", "a".repeat(65))).is_none());
    }

    proptest! {
        #[test]
        fn what_is_parsed_is_harmless(text in "\\PC{0,20}[@\\r\\n <>]{1,2}[a-z.\\r\\n]{0,20}") {
            if let Some(address) = MailAddress::parse(&text) {
                let text = address.to_string();
                prop_assert!(!text.contains(['\r', '\n', ' ', '<', '>', '\0']));
                prop_assert_eq!(text.matches('@').count(), 1);
                prop_assert_eq!(MailAddress::parse(&text), Some(address));
            }
        }
    }
}
