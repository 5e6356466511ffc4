//! Networks, as lists of addresses name them.

use std::net::IpAddr;

use serde::Deserialize;

/// An IP network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        use IpAddr::{V4, V6};
        match (self.address, address) {
            (V4(a), V4(b)) => {
                masked(a.to_bits().into(), self.prefix, 32)
                    == masked(b.to_bits().into(), self.prefix, 32)
            }
            (V6(a), V6(b)) => {
                masked(a.to_bits(), self.prefix, 128) == masked(b.to_bits(), self.prefix, 128)
            }
            _ => false,
        }
    }
}

fn masked(bits: u128, prefix: u8, width: u8) -> u128 {
    bits.checked_shr(u32::from(width - prefix)).unwrap_or(0)
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            let address: IpAddr = address.parse().ok()?;
            let prefix: u8 = prefix.parse().ok()?;
            let width = if address.is_ipv4() { 32 } else { 128 };
            (prefix <= width).then_some(Self { address, prefix })
        });
        parsed.ok_or_else(|| {
            serde::de::Error::custom(format!("{text:?} is no network: write it as 10.0.0.0/8"))
        })
    }
}
