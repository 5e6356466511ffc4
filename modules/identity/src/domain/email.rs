//! Email addresses.

use std::fmt;

use super::Invalid;

/// An address that mail can be sent to: `local@domain`, in ASCII.
///
/// Narrower than RFC 5321 on purpose: no quoted local parts, comments or address literals, which
/// nobody registers with and which smuggle separators past whoever parses the address next. A
/// domain in other scripts is kept in its ASCII form (IDNA), the one that mail servers take.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Email(String);

impl Email {
    pub(crate) const MAX_BYTES: usize = 254;
    const MAX_LOCAL_BYTES: usize = 64;
    const MALFORMED: Invalid = "must be an email address such as ada@example.org";

    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        // Before anything that costs more than looking at the length.
        if text.len() > Self::MAX_BYTES {
            return Err("must have at most 254 bytes");
        }
        let (local, domain) = text.split_once('@').ok_or(Self::MALFORMED)?;
        if local.len() > Self::MAX_LOCAL_BYTES || !local.split('.').all(is_atom) {
            return Err(Self::MALFORMED);
        }
        let domain = ascii_domain(domain).ok_or(Self::MALFORMED)?;
        let email = format!("{local}@{domain}");
        if email.len() > Self::MAX_BYTES {
            return Err("must have at most 254 bytes");
        }
        Ok(Self(email))
    }

    /// As it was typed.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What makes it unique: all lowercase. Mail servers may tell cases apart (RFC 5321 §2.4), but
    /// hardly one does, and two accounts that differ in case alone are a trap for people.
    pub(crate) fn canonical(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

/// Personal data: kept out of whatever prints it.
impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(…)")
    }
}

/// RFC 5322 §3.2.3.
fn is_atom(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
}

fn ascii_domain(text: &str) -> Option<String> {
    // First of all: the URL parser below undoes percent signs, which have no place here.
    let plain = |b: u8| !b.is_ascii() || b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    if !text.bytes().all(plain) {
        return None;
    }
    let domain = match url::Host::parse(text).ok()? {
        url::Host::Domain(domain) => domain,
        url::Host::Ipv4(_) | url::Host::Ipv6(_) => return None,
    };
    let labels: Vec<&str> = domain.split('.').collect();
    let last = labels.last()?;
    let named = labels.iter().all(|label| is_label(label))
        && (labels.len() > 1 || domain == "localhost")
        // An IPv4 address is not a name.
        && !last.bytes().all(|b| b.is_ascii_digit());
    named.then_some(domain)
}

/// RFC 1123 §2.1.
fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses() {
        for (text, kept) in [
            ("ada@example.org", Some("ada@example.org")),
            (
                "  Ada.Lovelace+tag@Example.ORG\n",
                Some("Ada.Lovelace+tag@example.org"),
            ),
            ("root@localhost", Some("root@localhost")),
            ("ada@münchen.de", Some("ada@xn--mnchen-3ya.de")),
            ("ada@xn--mnchen-3ya.de", Some("ada@xn--mnchen-3ya.de")),
            ("", None),
            ("ada", None),
            ("ada@", None),
            ("@example.org", None),
            ("ada@@example.org", None),
            ("ada@host", None),
            ("ada@.org", None),
            ("ada@example..org", None),
            ("ada@example.org.", None),
            ("ada@-example.org", None),
            ("ada@192.0.2.1", None),
            ("ada@[192.0.2.1]", None),
            ("ada@１９２.0.2.1", None),
            ("\"ada lovelace\"@example.org", None),
            ("a.@example.org", None),
            (".a@example.org", None),
            ("a..b@example.org", None),
            ("ädä@example.org", None),
            ("ada@example.org\r\nBcc: eve@example.org", None),
            ("ada\0@example.org", None),
            ("ada@exa\0mple.org", None),
            ("ada@example.org,eve@example.org", None),
            ("Ada <ada@example.org>", None),
            ("ada@example.org/..", None),
            ("ada@exämple.org:25", None),
            ("ada@%65xämple.org", None),
        ] {
            let parsed = Email::parse(text).ok();
            assert_eq!(parsed.as_ref().map(Email::as_str), kept, "{text:?}");
        }
        let local = "l".repeat(64);
        assert!(Email::parse(&format!("{local}@example.org")).is_ok());
        assert!(Email::parse(&format!("l{local}@example.org")).is_err());
        let long = format!("a@{}org", "label.".repeat(60));
        assert!(Email::parse(&long).is_err());
    }

    #[test]
    fn cases_are_one_account() {
        let [typed, shouted] =
            ["Ada@Example.org", "ADA@EXAMPLE.ORG"].map(|text| Email::parse(text).unwrap());
        assert_ne!(typed, shouted);
        assert_eq!(typed.canonical(), shouted.canonical());
        assert!(!format!("{typed:?}").contains("Ada"));
    }

    proptest! {
        #[test]
        fn what_is_parsed_is_plain_and_parses_to_itself(text in "\\PC{0,20}@\\PC{0,20}") {
            if let Ok(email) = Email::parse(&text) {
                prop_assert!(email.as_str().is_ascii());
                prop_assert!(!email.as_str().bytes().any(|b| b.is_ascii_control() || b == b' '));
                prop_assert_eq!(Email::parse(email.as_str()).unwrap(), email.clone());
                let canonical = email.canonical();
                prop_assert_eq!(Email::parse(&canonical).unwrap().canonical(), canonical);
            }
        }
    }
}
