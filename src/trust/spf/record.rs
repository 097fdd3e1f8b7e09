//! SPF records by the letter of the grammar (RFC 7208 section 12): the whole record is checked before any of it counts.

use super::macros::{DomainSpec, MacroString, Place};
use super::printable;
use crate::policy::spf::SpfResult;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The longest record that is read, in octets: what one DNS answer can hold.
const RECORD_MAX: usize = 64 * 1024;
/// How many terms that ask DNS a check has (section 4.6.4).
pub(super) const TERMS_MAX: usize = 10;

/// A record of version 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// In their order. What stands behind `all`, or behind one term more than may ask DNS, can never be reached: it was
    /// checked, but is not here.
    pub directives: Vec<Directive>,
    pub redirect: Option<DomainSpec>,
    pub explanation: Option<DomainSpec>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directive {
    /// What the qualifier makes of a match.
    pub result: SpfResult,
    pub mechanism: Mechanism,
    /// As it was published, made printable.
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    All,
    Include(DomainSpec),
    A(Option<DomainSpec>, Prefixes),
    Mx(Option<DomainSpec>, Prefixes),
    Ptr(Option<DomainSpec>),
    Ip4(Ipv4Addr, u8),
    Ip6(Ipv6Addr, u8),
    Exists(DomainSpec),
}

/// How many leading bits of an address have to match, by family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefixes {
    pub v4: u8,
    pub v6: u8,
}

impl Mechanism {
    /// Whether it counts among the terms that ask DNS.
    pub fn asks_dns(&self) -> bool {
        !matches!(self, Mechanism::All | Mechanism::Ip4(..) | Mechanism::Ip6(..))
    }

    /// What it names, where it names a domain.
    pub fn domain(&self) -> Option<&DomainSpec> {
        match self {
            Mechanism::Include(spec) | Mechanism::Exists(spec) => Some(spec),
            Mechanism::A(spec, _) | Mechanism::Mx(spec, _) | Mechanism::Ptr(spec) => spec.as_ref(),
            Mechanism::All | Mechanism::Ip4(..) | Mechanism::Ip6(..) => None,
        }
    }
}

/// Whether a TXT record is one of SPF version 1 (section 4.5); what follows may still be wrong.
pub(super) fn is_spf(text: &[u8]) -> bool {
    const VERSION: &[u8] = b"v=spf1";
    text.get(..VERSION.len()).is_some_and(|start| start.eq_ignore_ascii_case(VERSION))
        && matches!(text.get(VERSION.len()), None | Some(b' '))
}

impl Record {
    /// Parses what [`is_spf`] took. The error names the term and what is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Record, String> {
        if text.len() > RECORD_MAX {
            return Err("it is longer than 64 KiB".into());
        }
        let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii());
        let text = text.ok_or("it is not ASCII")?;
        let mut record = Record { directives: Vec::new(), redirect: None, explanation: None };
        let mut asking = 0;
        let mut over = false;
        for term in text.split(' ').skip(1).filter(|term| !term.is_empty()) {
            let about = |why: String| format!("\"{}\": {why}", printable(term));
            if let Some((name, value)) = modifier(term) {
                record.modify(name, value).map_err(about)?;
                continue;
            }
            let directive = Directive::parse(term).map_err(about)?;
            if over {
                continue;
            }
            asking += usize::from(directive.mechanism.asks_dns());
            over = directive.mechanism == Mechanism::All || asking > TERMS_MAX;
            record.directives.push(directive);
        }
        Ok(record)
    }

    fn modify(&mut self, name: &str, value: &str) -> Result<(), String> {
        let known = match name.to_ascii_lowercase().as_str() {
            "redirect" => &mut self.redirect,
            "exp" => &mut self.explanation,
            // The macros of modifiers that we do not know have to be right all the same (section 12).
            _ => return MacroString::parse(value, Place::Unknown).map(drop),
        };
        if known.is_some() {
            return Err("there are two of this modifier".into());
        }
        *known = Some(DomainSpec::parse(value)?);
        Ok(())
    }
}

impl Directive {
    fn parse(term: &str) -> Result<Directive, String> {
        let (result, rest) = match term.as_bytes()[0] {
            b'+' => (SpfResult::Pass, &term[1..]),
            b'-' => (SpfResult::Fail, &term[1..]),
            b'?' => (SpfResult::Neutral, &term[1..]),
            b'~' => (SpfResult::SoftFail, &term[1..]),
            _ => (SpfResult::Pass, term),
        };
        let (name, argument) = rest.split_at(rest.find([':', '/']).unwrap_or(rest.len()));
        let mechanism = match name.to_ascii_lowercase().as_str() {
            "all" if argument.is_empty() => Mechanism::All,
            "all" => return Err("all has nothing behind it".into()),
            "include" => Mechanism::Include(DomainSpec::parse(needed(argument)?)?),
            "exists" => Mechanism::Exists(DomainSpec::parse(needed(argument)?)?),
            "a" => host(argument).map(|(spec, prefixes)| Mechanism::A(spec, prefixes))?,
            "mx" => host(argument).map(|(spec, prefixes)| Mechanism::Mx(spec, prefixes))?,
            "ptr" => Mechanism::Ptr(optional(argument)?),
            "ip4" => network::<Ipv4Addr>(argument, 32).map(|(ip, bits)| Mechanism::Ip4(ip, bits))?,
            "ip6" => network::<Ipv6Addr>(argument, 128).map(|(ip, bits)| Mechanism::Ip6(ip, bits))?,
            _ => return Err("there is no such mechanism".into()),
        };
        Ok(Directive { result, mechanism, text: printable(term) })
    }
}

/// A term is a modifier where `=` follows its name at once (section 4.6.1).
fn modifier(term: &str) -> Option<(&str, &str)> {
    let (name, value) = term.split_once('=')?;
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(inner)).then_some((name, value))
}

fn needed(argument: &str) -> Result<&str, String> {
    argument.strip_prefix(':').ok_or_else(|| "it needs a : and a domain".into())
}

fn optional(argument: &str) -> Result<Option<DomainSpec>, String> {
    if argument.is_empty() { Ok(None) } else { DomainSpec::parse(needed(argument)?).map(Some) }
}

/// `[ ":" domain-spec ] [ dual-cidr-length ]`. A domain may have slashes in it, so the lengths are taken off from the right.
fn host(argument: &str) -> Result<(Option<DomainSpec>, Prefixes), String> {
    let (rest, v6) = match argument.rsplit_once("//") {
        Some((rest, digits)) if is_number(digits) => (rest, prefix(digits, 128)?),
        _ => (argument, 128),
    };
    let (rest, v4) = match rest.rsplit_once('/') {
        Some((rest, digits)) if is_number(digits) => (rest, prefix(digits, 32)?),
        _ => (rest, 32),
    };
    Ok((optional(rest)?, Prefixes { v4, v6 }))
}

/// `":" network [ "/" length ]`
fn network<A: FromStr>(argument: &str, bits: u8) -> Result<(A, u8), String> {
    let text = argument.strip_prefix(':').ok_or("it needs a : and an address")?;
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, prefix(length, bits)?),
        None => (text, bits),
    };
    let address = address.parse().map_err(|_| "it holds no address of that kind")?;
    Ok((address, length))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// A prefix length without leading zeros (section 12).
fn prefix(text: &str, most: u8) -> Result<u8, String> {
    let wrong = || format!("its prefix length is no number from 0 to {most}");
    if !is_number(text) || (text.len() > 1 && text.starts_with('0')) {
        return Err(wrong());
    }
    text.parse().ok().filter(|bits| *bits <= most).ok_or_else(wrong)
}

/// Whether the first `bits` of two addresses of one family are equal.
pub(super) fn within(ip: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            let differ = u32::from(ip) ^ u32::from(network);
            differ.checked_shr(32 - u32::from(bits.min(32))).unwrap_or(0) == 0
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => {
            let differ = u128::from(ip) ^ u128::from(network);
            differ.checked_shr(128 - u32::from(bits.min(128))).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
