//! Networks as an administrator writes them.

use serde::Deserialize;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A network in CIDR form; an address alone is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Network {
    first: IpAddr,
    length: u8,
}

impl Network {
    /// The network of this many bits that an address lies in; an IPv4 address in IPv6 clothes counts as IPv4.
    pub fn of(ip: IpAddr, length: u8) -> Network {
        match ip.to_canonical() {
            IpAddr::V4(v4) => {
                let length = length.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                Network { first: IpAddr::V4((u32::from(v4) & mask).into()), length }
            }
            IpAddr::V6(v6) => {
                let length = length.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                Network { first: IpAddr::V6((u128::from(v6) & mask).into()), length }
            }
        }
    }

    /// Whether an address lies in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.first.is_ipv4() && Network::of(ip, self.length) == *self
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.length {
            32 if self.first.is_ipv4() => self.first.fmt(f),
            128 => self.first.fmt(f),
            length => write!(f, "{}/{length}", self.first),
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let bad = || format!("{text:?} is no network: want 192.0.2.0/24, 2001:db8::/32 or one address");
        let (address, length) = text.split_once('/').unwrap_or((text, ""));
        let first: IpAddr = address.parse().map_err(|_| bad())?;
        let whole = if first.is_ipv4() { 32 } else { 128 };
        let length = match length {
            "" if !text.contains('/') => whole,
            digits => digits.parse().ok().filter(|length| *length <= whole).ok_or_else(bad)?,
        };
        let network = Network { first, length };
        // 10.1.2.3/8 may mean one address or sixteen million.
        if Network::of(first, length) != network {
            return Err(format!(
                "{text:?} has bits behind its /{length}: want {}",
                Network::of(first, length)
            ));
        }
        Ok(network)
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Network, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_what_shares_its_bits() {
        let inside =
            |network: &str, ip: &str| network.parse::<Network>().unwrap().contains(ip.parse().unwrap());
        assert!(inside("127.0.0.0/8", "127.255.0.1") && !inside("127.0.0.0/8", "128.0.0.1"));
        assert!(inside("127.0.0.0/8", "::ffff:127.0.0.1") && !inside("127.0.0.0/8", "::1"));
        assert!(inside("::1", "::1") && !inside("::1", "::2"));
        assert!(inside("0.0.0.0/0", "192.0.2.1") && !inside("0.0.0.0/0", "2001:db8::1"));
        assert!(inside("2001:db8::/32", "2001:db8:ffff::1") && !inside("2001:db8::/32", "2001:db9::1"));
    }

    #[test]
    fn what_is_no_network_is_named() {
        for text in ["", "localhost", "10.0.0.0/33", "10.0.0.0/", "::1/129", "10.1.2.3/8", "::/-1"] {
            assert!(text.parse::<Network>().unwrap_err().contains(text), "{text}");
        }
        assert_eq!("10.1.0.0/16".parse::<Network>().unwrap().to_string(), "10.1.0.0/16");
        assert_eq!("10.1.0.1".parse::<Network>().unwrap().to_string(), "10.1.0.1");
    }
}
