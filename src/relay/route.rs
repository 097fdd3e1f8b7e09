//! Where a destination's mail goes: hosts in order, and addresses that may be connected to.

use crate::mail::address::{Domain, Host};
use crate::mail::dsn::Diagnosis;
use crate::net::dns::{Dns, MailHosts, Mx};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many hosts of a destination are looked at in one attempt: a zone may list thousands, each of which costs
/// look-ups that may take seconds.
const HOSTS: usize = 10;

/// What DNS says of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Hosts, the best first.
    Hosts(Vec<Host>),
    /// It will never be reached.
    Never(Diagnosis),
    /// It cannot be said now.
    Later(String),
}

/// RFC 5321 section 5.1: MX hosts by preference, else the domain itself; only those that are better than we are.
pub(super) async fn find(dns: &Dns, destination: &Host, hostname: &str) -> Route {
    let Host::Domain(domain) = destination else { return Route::Hosts(vec![destination.clone()]) };
    match dns.mail_hosts(domain).await {
        Ok(MailHosts::Mx(hosts)) => match in_order(better_than_us(hosts, hostname), super::dice) {
            hosts if hosts.is_empty() => Route::Never(Diagnosis {
                status: (5, 4, 6),
                words: format!(
                    "the mail of {domain} is directed to this very server, which does not have it"
                ),
                host: None,
            }),
            hosts => Route::Hosts(hosts.into_iter().map(|mx| Host::Domain(mx.host)).collect()),
        },
        Ok(MailHosts::Implicit) => Route::Hosts(vec![destination.clone()]),
        Ok(MailHosts::NullMx) => never((5, 1, 10), format!("{domain} takes no mail (its MX record says so)")),
        Ok(MailHosts::NoDomain) => never((5, 1, 2), format!("there is no domain {domain}")),
        Ok(MailHosts::NoHosts) => never((5, 1, 2), format!("{domain} has no mail server and no address")),
        Err(error) => Route::Later(error.to_string()),
    }
}

fn never(status: (u8, u16, u16), words: String) -> Route {
    Route::Never(Diagnosis { status, words, host: None })
}

/// If we are among the hosts, those as good as we are and worse ones would send the letter back to us.
fn better_than_us(mut hosts: Vec<Mx>, hostname: &str) -> Vec<Mx> {
    let us = Domain::parse(hostname).ok();
    let ours = hosts.iter().filter(|mx| Some(&mx.host) == us.as_ref()).map(|mx| mx.preference).min();
    if let Some(ours) = ours {
        hosts.retain(|mx| mx.preference < ours);
    }
    hosts
}

/// By preference, and among equals at random (RFC 5321 section 5.1), so that they share the load.
fn in_order(mut hosts: Vec<Mx>, mut dice: impl FnMut() -> u16) -> Vec<Mx> {
    hosts.sort_by_cached_key(|mx| (mx.preference, dice()));
    hosts.truncate(HOSTS);
    hosts
}

/// A host's addresses that may be connected to, or why there is none.
pub(super) async fn addresses(dns: &Dns, host: &Host, allow_private: bool) -> Result<Vec<IpAddr>, String> {
    let found = match host {
        Host::Literal(ip) => vec![*ip],
        Host::Domain(name) => dns.addresses(name).await.map_err(|error| error.to_string())?,
    };
    let (usable, refused): (Vec<IpAddr>, Vec<IpAddr>) =
        found.into_iter().partition(|&ip| allow_private || is_public(ip));
    match (usable.is_empty(), refused.first()) {
        (false, _) => Ok(usable),
        (true, Some(ip)) => Err(format!("{host} has only addresses that are not public ({ip})")),
        (true, None) => Err(format!("{host} has no address")),
    }
}

/// Whether a stranger's server can stand there: DNS must not direct us to what is behind our own door. (The standard
/// library's `is_global` is not stable.)
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmark = a == 198 && (b == 18 || b == 19);
    let protocol = a == 192 && b == 0 && c == 0;
    let reserved = a == 0 || a >= 240;
    !(ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || shared
        || benchmark
        || protocol
        || reserved)
}

/// Only 2000::/3 is given out; within it, and beside it, are the forms that hide an IPv4 address: mapped, compatible,
/// NAT64 (RFC 6052, 8215), 6to4, Teredo.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    let given_out = a & 0xe000 == 0x2000;
    let teredo_and_protocols = a == 0x2001 && b < 0x200;
    let documentation = (a == 0x2001 && b == 0xdb8) || (a == 0x3fff && b < 0x1000);
    let six_to_four = a == 0x2002;
    given_out && !(teredo_and_protocols || documentation || six_to_four)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_connected_to() {
        let public =
            ["8.8.8.8", "192.1.2.3", "100.63.0.1", "172.32.0.1", "2606:4700::1", "2a00:1450:4001::1"];
        for text in public {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
        let refused = [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.1.1",
            "0.0.0.0",
            "0.1.2.3",
            "100.64.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:8.8.8.8",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::1",
            "3fff::1",
            "100::1",
        ];
        for text in refused {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    fn mx(preference: u16, host: &str) -> Mx {
        Mx { preference, host: Domain::parse(host).unwrap() }
    }

    #[test]
    fn hosts_as_good_as_we_are_are_left_out() {
        let hosts = || vec![mx(5, "a.test"), mx(10, "us.test"), mx(10, "b.test"), mx(20, "c.test")];
        assert_eq!(better_than_us(hosts(), "us.test"), [mx(5, "a.test")]);
        assert_eq!(better_than_us(hosts(), "US.test").len(), 1, "names have no case");
        assert_eq!(better_than_us(hosts(), "other.test"), hosts());
        assert!(better_than_us(hosts(), "a.test").is_empty());
    }

    #[test]
    fn equals_come_in_any_order_and_no_more_than_ten_at_all() {
        let hosts = || vec![mx(5, "a.test"), mx(10, "b.test"), mx(10, "c.test"), mx(20, "d.test")];
        let ordered = |mut dice: Vec<u16>| {
            let hosts = in_order(hosts(), || dice.pop().unwrap_or_default());
            hosts.iter().map(|mx| mx.host.to_string().replace(".test", "")).collect::<String>()
        };
        assert_eq!(ordered(vec![0, 2, 1, 9]), "abcd");
        assert_eq!(ordered(vec![0, 1, 2, 9]), "acbd");
        let many: Vec<Mx> = (0..1000).map(|n| mx(1, &format!("h{n}.test"))).collect();
        assert_eq!(in_order(many, || 0).len(), HOSTS);
    }
}
