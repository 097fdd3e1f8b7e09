//! Authentication-Results (RFC 8601): what was found out, for the reader's own programs.

use super::dmarc::DmarcEvidence;
use super::inbound::Evidence;
use super::peer::{PeerEvidence, PeerName};
use super::signature::{SignatureEvidence, Verdict};
use super::spf::{SpfEvidence, SpfIdentity};
use crate::mail::trace::VERDICT;
use std::net::IpAddr;

/// Where its lines are broken (RFC 5322 section 2.1.1).
const LINE_WISHED: usize = 78;

/// Authentication-Results, folded, with its CRLF. Only what was parsed stands in it: names of domains and selectors, and our
/// own words; nothing of a stranger's text can end a line or start a property.
pub fn authentication_results(hostname: &str, evidence: &Evidence) -> String {
    let mut results = vec![spf(&evidence.spf)];
    match evidence.signatures.is_empty() {
        true => results.push("dkim=none".to_owned()),
        false => results.extend(evidence.signatures.iter().map(dkim)),
    }
    results.extend(evidence.dmarc.iter().map(dmarc));
    results.push(iprev(&evidence.peer));
    format!("Authentication-Results: {};\r\n {}\r\n", token(hostname), results.join(";\r\n "))
}

/// The verdict for a reader: `accept` or `junk`, and why. `sentence` may be any text.
pub fn verdict_field(word: &str, sentence: &str) -> String {
    let mut field = format!("{VERDICT}: {word};");
    let mut column = field.len();
    for part in sentence.split_whitespace() {
        let part: String = part.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect();
        // A word as long as a line allows is cut: RFC 5322 section 2.1.1 has 998.
        let part: String = part.chars().take(900).collect();
        if column + 1 + part.len() > LINE_WISHED {
            field.push_str("\r\n");
            column = 0;
        }
        field.push(' ');
        field.push_str(&part);
        column += 1 + part.len();
    }
    field.push_str("\r\n");
    field
}

/// RFC 8601 section 2.7.2.
fn spf(spf: &SpfEvidence) -> String {
    let property = match spf.identity {
        SpfIdentity::MailFrom => "smtp.mailfrom",
        SpfIdentity::Helo => "smtp.helo",
    };
    format!("spf={} {property}={}", spf.result, token(&spf.domain))
}

/// RFC 8601 section 2.7.1.
fn dkim(signature: &SignatureEvidence) -> String {
    let (result, reason) = dkim_result(&signature.verdict);
    let reason = reason.map(|reason| format!(" reason=\"{reason}\"")).unwrap_or_default();
    format!(
        "dkim={result}{reason}\r\n header.d={} header.s={} header.a={}",
        token(signature.domain.as_str()),
        token(&signature.selector),
        token(&signature.algorithm),
    )
}

/// RFC 9989 section 9.1: the policy that applies is a property.
fn dmarc(dmarc: &DmarcEvidence) -> String {
    let policy = match dmarc.record_at {
        Some(_) => format!(" policy.dmarc={}", dmarc.policy),
        None => String::new(),
    };
    format!("dmarc={} header.from={}{policy}", dmarc.result.word(), token(dmarc.author.as_str()))
}

/// RFC 8601 section 2.7.3.
fn iprev(peer: &PeerEvidence) -> String {
    let result = match peer.name {
        PeerName::Confirmed(_) => "pass",
        PeerName::Unconfirmed(_) => "fail",
        PeerName::Missing => "permerror",
        PeerName::Unknown(_) => "temperror",
    };
    format!("iprev={result} policy.iprev={}", address(peer.ip))
}

/// A colon cannot stand in a token of RFC 2045's, which a value without quotes is.
fn address(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("\"{v6}\""),
    }
}

/// The result of RFC 8601 section 2.7.1, and a reason in our words.
pub fn dkim_result(verdict: &Verdict) -> (&'static str, Option<&'static str>) {
    match verdict {
        Verdict::Pass => ("pass", None),
        Verdict::BrokenBody => ("fail", Some("body hash does not match")),
        Verdict::BrokenSignature => ("fail", Some("signature does not match")),
        Verdict::NoKey => ("permerror", Some("no key")),
        Verdict::Revoked => ("permerror", Some("key revoked")),
        Verdict::Testing => ("neutral", Some("key in testing mode")),
        Verdict::UnusableKey(_) => ("permerror", Some("key unusable")),
        Verdict::Unsupported(_) => ("neutral", Some("form not supported")),
        Verdict::Expired => ("neutral", Some("expired")),
        Verdict::Premature => ("neutral", Some("signed in the future")),
        Verdict::TempFault(_) => ("temperror", Some("key look-up failed")),
    }
}

fn token(text: &str) -> String {
    let kept: String = text
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':'))
        .take(253)
        .collect();
    match kept.as_str() {
        "" => "unknown".into(),
        // Readers drop a whole field that they cannot parse, and a client chooses what it calls itself.
        address if address.contains(':') => format!("\"{address}\""),
        _ => kept,
    }
}

#[cfg(test)]
mod tests;
