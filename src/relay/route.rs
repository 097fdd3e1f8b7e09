//! Where a destination's mail goes: hosts in order, and addresses that may be connected to.

use crate::mail::address::{Domain, Host};
use crate::mail::dsn::Diagnosis;
use crate::net::dns::{Dns, MailHosts, Mx};
use crate::net::public::is_public;
use std::net::IpAddr;

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
