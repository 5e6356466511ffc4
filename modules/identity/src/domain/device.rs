//! Where somebody signs in from, as far as a request tells.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use kernel::{event::Client, secret::Key};
use woothee::parser::Parser;

/// What signs in, and where from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Device {
    /// For people: "Firefox on Linux". Nothing that the caller wrote but the name of a program.
    pub(crate) name: Option<String>,
    pub(crate) address: Option<IpAddr>,
}

impl Device {
    const MAX_NAME_BYTES: usize = 40;

    pub(crate) fn of(client: Option<&Client>) -> Self {
        let agent = client.and_then(|client| client.user_agent.as_deref());
        Self {
            name: agent.and_then(name),
            address: client.and_then(|client| client.address),
        }
    }

    /// What is kept of device and network, to know them again: a whole address would make every lease
    /// of a home router a stranger, so it is the /16 of an IPv4 address, or the /32 of an IPv6 one.
    pub(crate) fn digest(&self, key: &Key) -> [u8; 32] {
        let network = match self.address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(v4)) => Some(Ipv4Addr::from_bits(v4.to_bits() >> 16 << 16).into()),
            Some(IpAddr::V6(v6)) => Some(Ipv6Addr::from_bits(v6.to_bits() >> 96 << 96).into()),
            None => None,
        };
        let network = network.map_or_else(String::new, |network: IpAddr| network.to_string());
        let name = self.name.as_deref().unwrap_or_default();
        key.mac(&[name.as_bytes(), network.as_bytes()])
    }
}

/// Browser and system; of other programs the product that they name first (RFC 9110 §10.1.5).
fn name(agent: &str) -> Option<String> {
    const UNKNOWN: &str = "UNKNOWN";
    let is_browser =
        |category| ["pc", "smartphone", "mobilephone", "appliance"].contains(&category);
    if let Some(found) = Parser::new().parse(agent)
        && is_browser(found.category)
        && found.name != UNKNOWN
    {
        return Some(match found.os {
            UNKNOWN | "" => found.name.to_owned(),
            os => format!("{} on {os}", found.name),
        });
    }
    let product = agent.split(['/', ' ', '(']).next().unwrap_or_default();
    let token = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    let plain = !product.is_empty() && product.bytes().all(token);
    (plain && product.len() <= Device::MAX_NAME_BYTES).then(|| product.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(agent: &str, address: &str) -> Device {
        Device::of(Some(&Client {
            address: Some(address.parse().unwrap()),
            user_agent: Some(agent.to_owned()),
        }))
    }

    #[test]
    fn programs_are_named_and_nothing_else_is_repeated() {
        let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
        let safari = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 \
                      (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1";
        for (agent, name) in [
            (firefox, Some("Firefox on Linux")),
            (safari, Some("Safari on iPhone")),
            ("curl/8.5.0", Some("curl")),
            ("Shop-App/2.1 (Android 15)", Some("Shop-App")),
            ("", None),
            ("<script>alert(1)</script>", None),
            ("Call +1 555 0100 now", Some("Call")),
            (&"x".repeat(300), None),
        ] {
            assert_eq!(device(agent, "10.0.0.1").name.as_deref(), name, "{agent}");
        }
        assert_eq!(Device::of(None), Device::default());
    }

    #[test]
    fn a_network_is_known_again_in_parts() {
        let key = Key::new([1; 32]);
        let of = |agent, address| device(agent, address).digest(&key);
        assert_eq!(of("curl/8", "10.1.0.1"), of("curl/9", "10.1.200.7"));
        assert_eq!(of("curl/8", "10.1.0.1"), of("curl/8", "::ffff:10.1.0.9"));
        assert_ne!(of("curl/8", "10.1.0.1"), of("curl/8", "10.2.0.1"));
        assert_ne!(of("curl/8", "10.1.0.1"), of("wget/1", "10.1.0.1"));
        assert_eq!(of("a", "2001:db8:1::1"), of("a", "2001:db8:ffff::1"));
        assert_ne!(of("a", "2001:db8::1"), of("a", "2001:db9::1"));
    }
}
