//! Where a destination's mail goes: hosts in order, and addresses that may be connected to.

use crate::mail::address::{Domain, Host};
use crate::mail::dsn::Diagnosis;
use crate::net::dns::{Dns, Known, MailHosts, Mx};
use crate::net::public::is_public;
use std::net::IpAddr;

/// How many hosts of a destination are looked at in one attempt: a zone may list thousands, each of which costs
/// look-ups that may take seconds.
const HOSTS: usize = 10;
/// How many are remembered: among more equals than are looked at, each has its turn.
const REMEMBERED: usize = 4 * HOSTS;
/// How many addresses of a host are tried: behind a host with many dead addresses stands another one.
const ADDRESSES_EACH: usize = 3;

/// A host that mail goes to, and how much it is preferred (less is more).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) preference: u16,
    pub(super) host: Host,
}

/// What DNS says of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Hosts, the best first, equals by name; and whether DNSSEC vouches for all of it.
    Hosts(Known<Vec<Stop>>),
    /// It will never be reached.
    Never(Diagnosis),
    /// It cannot be said now.
    Later(String),
}

/// RFC 5321 section 5.1: MX hosts by preference, else the domain itself; only those that are better than we are.
pub(super) async fn find(dns: &Dns, destination: &Host, hostname: &str) -> Route {
    let itself = |secure| {
        let stop = Stop { preference: 0, host: destination.clone() };
        Route::Hosts(Known { value: vec![stop], secure })
    };
    let Host::Domain(domain) = destination else { return itself(false) };
    let known = match dns.route(domain).await {
        Ok(known) => known,
        Err(error) => return Route::Later(error.to_string()),
    };
    match known.value {
        MailHosts::Mx(hosts) => match better_than_us(hosts, hostname) {
            hosts if hosts.is_empty() => never(
                (5, 4, 6),
                format!("the mail of {domain} is directed to this very server, which does not have it"),
            ),
            hosts => Route::Hosts(Known { value: stops(hosts), secure: known.secure }),
        },
        MailHosts::Implicit => itself(known.secure),
        MailHosts::NullMx => never((5, 1, 10), format!("{domain} takes no mail (its MX record says so)")),
        MailHosts::NoDomain => never((5, 1, 2), format!("there is no domain {domain}")),
        MailHosts::NoHosts => never((5, 1, 2), format!("{domain} has no mail server and no address")),
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

/// A host that is named twice is one, at its better place.
fn stops(mut hosts: Vec<Mx>) -> Vec<Stop> {
    hosts.sort_by(|a, b| (&a.host, a.preference).cmp(&(&b.host, b.preference)));
    hosts.dedup_by(|a, b| a.host == b.host);
    hosts.sort_by(|a, b| (a.preference, &a.host).cmp(&(b.preference, &b.host)));
    hosts.truncate(REMEMBERED);
    let stop = |mx: Mx| Stop { preference: mx.preference, host: Host::Domain(mx.host) };
    hosts.into_iter().map(stop).collect()
}

/// By preference, and among equals at random (RFC 5321 section 5.1), so that they share the load; for one attempt.
pub(super) fn in_order(stops: &[Stop], mut dice: impl FnMut() -> u16) -> Vec<&Host> {
    let mut stops: Vec<&Stop> = stops.iter().collect();
    stops.sort_by_cached_key(|stop| (stop.preference, dice()));
    stops.into_iter().take(HOSTS).map(|stop| &stop.host).collect()
}

/// Those of a host's addresses that are tried, in order; or why there is none. Both families are among them where it
/// has both: one of them may be cut off, here or there.
pub(super) fn to_be_tried(addresses: Vec<IpAddr>, allow_private: bool) -> Result<Vec<IpAddr>, String> {
    let (mut usable, refused): (Vec<IpAddr>, Vec<IpAddr>) =
        addresses.into_iter().partition(|&ip| allow_private || is_public(ip));
    match (usable.first().map(IpAddr::is_ipv4), refused.first()) {
        (Some(first), _) => {
            if let Some(other) = usable.iter().position(|ip| ip.is_ipv4() != first)
                && other >= ADDRESSES_EACH
            {
                usable.swap(other, ADDRESSES_EACH - 1);
            }
            usable.truncate(ADDRESSES_EACH);
            Ok(usable)
        }
        (None, Some(ip)) => Err(format!("has only addresses that are not public ({ip})")),
        (None, None) => Err("has no address".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let hosts = stops(vec![mx(5, "a.test"), mx(20, "d.test"), mx(10, "c.test"), mx(10, "b.test")]);
        let ordered = |mut dice: Vec<u16>| {
            let hosts = in_order(&hosts, || dice.pop().unwrap_or_default());
            hosts.iter().map(|host| host.to_string().replace(".test", "")).collect::<String>()
        };
        assert_eq!(ordered(vec![0, 2, 1, 9]), "abcd");
        assert_eq!(ordered(vec![0, 1, 2, 9]), "acbd");
        let many = stops((0..1000).map(|n| mx(1, &format!("h{n}.test"))).collect());
        assert_eq!((many.len(), in_order(&many, || 0).len()), (REMEMBERED, HOSTS));
    }

    #[test]
    fn a_host_that_is_named_twice_is_asked_once() {
        let hosts = stops(vec![mx(20, "a.test"), mx(10, "b.test"), mx(5, "a.test")]);
        let names: Vec<String> =
            hosts.iter().map(|stop| format!("{} {}", stop.preference, stop.host)).collect();
        assert_eq!(names, ["5 a.test", "10 b.test"]);
    }

    #[test]
    fn three_addresses_are_tried_of_both_families() {
        let tried = |text: &str, private| {
            let addresses = text.split(' ').map(|ip| ip.parse().unwrap()).collect();
            to_be_tried(addresses, private)
                .map(|ips| ips.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" "))
        };
        let three = tried("8.8.8.1 8.8.8.2 8.8.8.3 8.8.8.4 2a00::1 2a00::2", false).unwrap();
        assert_eq!(three, "8.8.8.1 8.8.8.2 2a00::1");
        assert_eq!(tried("2a00::1 2a00::2 8.8.8.1 8.8.8.2", false).unwrap(), "2a00::1 2a00::2 8.8.8.1");
        assert_eq!(tried("8.8.8.1 8.8.8.2 8.8.8.3 8.8.8.4", false).unwrap(), "8.8.8.1 8.8.8.2 8.8.8.3");
        assert_eq!(tried("10.0.0.1 2a00::1 ::ffff:8.8.8.8", false).unwrap(), "2a00::1");
        assert_eq!(tried("10.0.0.1", true).unwrap(), "10.0.0.1");
        assert!(tried("10.0.0.1 ::1", false).unwrap_err().contains("not public (10.0.0.1)"));
        assert_eq!(to_be_tried(Vec::new(), false).unwrap_err(), "has no address");
    }
}
