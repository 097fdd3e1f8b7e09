//! What became of a letter, in words.

use super::Courier;
use crate::mail::address::Host;
use crate::mail::dsn::Diagnosis;
use crate::net::session::Protection;
use crate::net::tls::{Identity, Secured};
use crate::relay::verdict::Verdict;
use crate::smtp::client::{Fate, Outcome};
use crate::smtp::reply::{Reply, printable};
use std::net::IpAddr;

/// A server, as in `mx.example.org [192.0.2.1]`.
pub(super) fn place(host: &Host, ip: IpAddr) -> String {
    match host {
        Host::Domain(name) => format!("{name} [{ip}]"),
        Host::Literal(_) => host.to_string(),
    }
}

/// One verdict per recipient.
pub(super) fn verdicts(outcome: Outcome, courier: &Courier) -> Vec<Verdict> {
    let verdict = |fate| match fate {
        Fate::Accepted(reply) => Verdict::Delivered {
            to: format!("{}: {reply}", courier.place()),
            tls: courier.tls.clone(),
            dsn: courier.session.offers_dsn(),
        },
        Fate::Refused(reply) => Verdict::Failed(refused(&reply, &courier.host)),
        Fate::Deferred(why) => Verdict::Deferred(deferred(why, Some(&courier.host))),
    };
    outcome.fates.into_iter().map(verdict).collect()
}

pub(super) fn refused(reply: &Reply, host: &Host) -> Diagnosis {
    let status = reply.enhanced.unwrap_or((5, 0, 0));
    Diagnosis { status, words: reply.to_string(), host: Some(host.to_string()) }
}

pub(super) fn deferred(words: String, host: Option<&Host>) -> Diagnosis {
    Diagnosis { status: (4, 4, 7), words, host: host.map(Host::to_string) }
}

/// What was found at a place, whose host is not named twice.
pub(super) fn at(place: &str, host: &Host, found: &str) -> String {
    match found.strip_prefix(&host.to_string()).filter(|rest| rest.starts_with(' ')) {
        Some(rest) => format!("{place}{rest}"),
        None => format!("{place}: {found}"),
    }
}

/// What the owner's own relay said, where it asks for a login (RFC 4954 section 6): no letter's fault, but a setting's.
pub(super) fn between_us(mut outcome: Outcome, place: &str) -> Outcome {
    for fate in &mut outcome.fates {
        if let Fate::Refused(reply) = fate
            && reply.code == LOGIN_REQUIRED
        {
            let said = printable(&reply.to_string(), QUOTE);
            let why =
                "relay.via wants a login: set relay.user and relay.password_file, or relay.password_command";
            tracing::error!(%place, said, "{why}");
            *fate = Fate::Deferred(format!("{said} ({why})"));
        }
    }
    outcome
}

/// "Authentication required".
const LOGIN_REQUIRED: u16 = 530;
/// How much of its words stands in a sentence of ours.
const QUOTE: usize = 200;

/// What protects a connection; `unasked` is why TLS was not asked for, where it was not.
pub(super) fn protection(protection: &Protection, unasked: Option<&str>) -> String {
    match protection {
        Protection::Clear(why) => format!("clear: {}", unasked.unwrap_or(why)),
        Protection::Tls(Secured { version, cipher, identity }) => match identity {
            Identity::Dane(record) => format!("{version} {cipher}, DANE {record}"),
            Identity::Verified => format!("{version} {cipher}, verified"),
            Identity::Unverified(why) => format!("{version} {cipher}, not verified: {why}"),
        },
    }
}
