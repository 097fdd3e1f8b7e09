//! The way to a destination: which hosts, in which order, and how connections to them must be protected.

use super::route::{self, Route, Stop};
use super::rules::{self, Via};
use super::{Parts, dice, unix_time};
use crate::config::TlsLevel;
use crate::mail::address::Host;
use crate::mail::dsn::Diagnosis;
use crate::net::dns::Known;
use crate::policy::sts::{Mode, Policy};
use crate::policy::tls::Sts;
use std::fmt::Write;
use std::sync::Arc;

/// The way to a destination, as DNS, MTA-STS and the configuration say; good for a few minutes.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    key: Arc<str>,
    stops: Vec<Stop>,
    /// The port of all of them.
    pub(super) port: u16,
    /// Whether DNSSEC vouches for the hosts, so that DANE means something (RFC 7672 section 2.2.1).
    pub(super) secure: bool,
    /// How much protection is wanted in any case.
    pub(super) level: TlsLevel,
    /// The domain's MTA-STS policy, if it asks for anything.
    sts: Option<Policy>,
    /// Whether it is `relay.via`.
    pub(super) via: Option<Via>,
}

/// What is known of the way.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// This is it.
    Plan(Arc<Plan>),
    /// There is none, and never will be.
    Never(Diagnosis),
    /// It cannot be said now.
    Later(String),
}

impl Plan {
    /// Destinations with the same key are one: the same hosts under the same demands share connections and back-off.
    pub(super) fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// Hosts in the order of one attempt.
    pub(super) fn hosts(&self) -> Vec<&Host> {
        route::in_order(&self.stops, dice)
    }

    /// What the domain's MTA-STS policy says of one of the hosts.
    pub(super) fn sts(&self, host: &Host) -> Sts {
        let Some(policy) = &self.sts else { return Sts::Silent };
        let named = matches!(host, Host::Domain(name) if policy.names(name));
        match policy.mode {
            Mode::Enforce => Sts::Enforce { named },
            Mode::Testing => Sts::Testing { named },
            Mode::None => Sts::Silent,
        }
    }

    fn new(parts: &Parts, hosts: Known<Vec<Stop>>, level: TlsLevel, sts: Option<Policy>) -> Plan {
        let key = key(&hosts, level, sts.as_ref()).into();
        let port = parts.config.port;
        Plan { key, stops: hosts.value, port, secure: hosts.secure, level, sts, via: None }
    }

    /// The owner named the server: his word stands for what DNSSEC would say of an MX record.
    fn by_way_of(via: Via, level: TlsLevel) -> Plan {
        let stop = Stop { preference: 0, host: via.host.clone() };
        let key = format!("via {}:{}; tls {level:?}", via.host, via.port).into();
        Plan { key, stops: vec![stop], port: via.port, secure: true, level, sts: None, via: Some(via) }
    }
}

/// Finds the way to a destination.
pub(super) async fn find(parts: &Parts, destination: &Host) -> Found {
    let level = rules::level(&parts.config, destination);
    if let Some(via) = &parts.config.via {
        return match Via::parse(via) {
            Ok(via) => Found::Plan(Arc::new(Plan::by_way_of(via, level))),
            Err(why) => Found::Later(why),
        };
    }
    match route::find(&parts.dns, destination, &parts.hostname).await {
        Route::Hosts(hosts) => {
            let sts = match destination {
                Host::Domain(domain) if level != TlsLevel::Off => parts.sts.policy(domain, unix_time()).await,
                _ => Ok(None),
            };
            match sts {
                Ok(sts) => Found::Plan(Arc::new(Plan::new(parts, hosts, level, sts))),
                Err(why) => {
                    tracing::error!(%destination, why, "no letter goes there for now");
                    Found::Later(why)
                }
            }
        }
        Route::Never(diagnosis) => Found::Never(diagnosis),
        Route::Later(why) => Found::Later(why),
    }
}

fn key(hosts: &Known<Vec<Stop>>, level: TlsLevel, sts: Option<&Policy>) -> String {
    let mut key = String::new();
    for Stop { preference, host } in &hosts.value {
        // Writing into a string cannot fail.
        let _ = write!(key, "{preference} {host}, ");
    }
    let _ = write!(key, "secure {}; tls {level:?}", hosts.secure);
    if let Some(policy) = sts {
        let _ = write!(key, "; MTA-STS {:?} {}", policy.mode, policy.mx.join(" "));
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::address::Domain;

    fn hosts(secure: bool, hosts: &[(u16, &str)]) -> Known<Vec<Stop>> {
        let stop = |&(preference, host): &(u16, &str)| Stop {
            preference,
            host: Host::Domain(Domain::parse(host).unwrap()),
        };
        Known { value: hosts.iter().map(stop).collect(), secure }
    }

    fn policy(mode: Mode, mx: &str) -> Policy {
        Policy { mode, mx: vec![mx.into()], max_age: 1 }
    }

    #[test]
    fn whatever_changes_the_demands_changes_the_key() {
        let a = || hosts(false, &[(10, "a.test")]);
        let keys = [
            key(&a(), TlsLevel::Opportunistic, None),
            key(&hosts(true, &[(10, "a.test")]), TlsLevel::Opportunistic, None),
            key(&hosts(false, &[(20, "a.test")]), TlsLevel::Opportunistic, None),
            key(&hosts(false, &[(10, "a.test"), (20, "b.test")]), TlsLevel::Opportunistic, None),
            key(&a(), TlsLevel::Require, None),
            key(&a(), TlsLevel::Opportunistic, Some(&policy(Mode::Enforce, "a.test"))),
            key(&a(), TlsLevel::Opportunistic, Some(&policy(Mode::Testing, "a.test"))),
            key(&a(), TlsLevel::Opportunistic, Some(&policy(Mode::Enforce, "*.test"))),
        ];
        for (n, one) in keys.iter().enumerate() {
            assert!(!keys[n + 1..].contains(one), "{one}");
        }
        assert_eq!(keys[0], key(&a(), TlsLevel::Opportunistic, None));
    }
}
