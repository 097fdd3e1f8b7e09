//! How a connection to somebody's MX must be protected: a pure function of configuration, DANE and MTA-STS.

use super::x509::{Certificate, PublicKey};
use crate::config::TlsLevel;
use std::fmt;
use std::str::FromStr;

#[cfg(test)]
mod tests;

/// Of a host's records no more are used: each may cost the check of a chain of certificates.
const MAX_RECORDS: usize = 32;

/// One TLSA record (RFC 6698 section 2.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tlsa {
    /// Certificate usage: 0 to 3.
    pub usage: u8,
    /// 0: the whole certificate, 1: its public key.
    pub selector: u8,
    /// 0: the data itself, 1: its SHA-256, 2: its SHA-512.
    pub matching: u8,
    /// What is to be matched.
    pub data: Vec<u8>,
}

/// What DNSSEC says of a host's TLSA records (RFC 7672 section 2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dane {
    /// There are none, or the zone is not signed.
    Absent,
    /// There are some, of which we can use none: TLS, with whatever certificate.
    Unusable,
    /// These are usable: one must match.
    Records(Vec<Tlsa>),
}

/// What the domain's MTA-STS policy says of a host (RFC 8461 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sts {
    /// There is no policy, or it asks for nothing.
    Silent,
    /// The policy is only tested: what fails is logged.
    Testing {
        /// Whether it names the host.
        named: bool,
    },
    /// The policy is in force.
    Enforce {
        /// Whether it names the host.
        named: bool,
    },
}

/// What a connection must be before a letter goes over it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Demand {
    /// No TLS is tried.
    Clear,
    /// The best there is: a verified certificate, else any, else none.
    Opportunistic,
    /// TLS, with whatever certificate.
    Encrypted,
    /// TLS with a certificate of a known authority in the host's name.
    Verified,
    /// TLS with a certificate that one of these records matches.
    Dane(Vec<Tlsa>),
}

/// What a host's TLSA records are worth; `secure` is what DNSSEC says of them. Records that are not secure are none
/// (RFC 7672 section 2.1.1), and those that we cannot use do not count beside those that we can.
pub fn dane_of(mut records: Vec<Tlsa>, secure: bool) -> Dane {
    if !secure || records.is_empty() {
        return Dane::Absent;
    }
    records.retain(is_usable);
    // Of two digests of the same kind of thing the stronger one counts alone (RFC 7671 section 9).
    let strong: Vec<(u8, u8)> =
        records.iter().filter(|r| r.matching == 2).map(|r| (r.usage, r.selector)).collect();
    records.retain(|r| r.matching != 1 || !strong.contains(&(r.usage, r.selector)));
    records.truncate(MAX_RECORDS);
    if records.is_empty() { Dane::Unusable } else { Dane::Records(records) }
}

/// Whether a record is one that SMTP can use: of usage DANE-TA or DANE-EE (RFC 7672 section 3.1.3 leaves out those that
/// lean on public authorities), of known kinds, and with data that can match anything.
fn is_usable(record: &Tlsa) -> bool {
    let data = record.data.as_slice();
    let fits = match (record.selector, record.matching) {
        (0, 0) => Certificate::parse(data).is_some(),
        (1, 0) => PublicKey::parse(data).is_some(),
        (0 | 1, 1) => data.len() == 32,
        (0 | 1, 2) => data.len() == 64,
        _ => false,
    };
    fits && matches!(record.usage, 2 | 3)
}

impl FromStr for Tlsa {
    type Err = &'static str;

    /// As in a zone: `3 1 1` and hex digits, which may have spaces within (RFC 6698 section 2.2). Only what can be used is read.
    fn from_str(text: &str) -> Result<Tlsa, &'static str> {
        let mut words = text.split_ascii_whitespace();
        let mut number =
            || words.next().and_then(|word| word.parse().ok()).ok_or("it does not begin with three numbers");
        let (usage, selector, matching) = (number()?, number()?, number()?);
        let digits: String = words.collect();
        let hex = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let is_hex = digits.len().is_multiple_of(2) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let data: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(hex).collect();
        let data = data.filter(|_| is_hex).ok_or("what follows the numbers is not hexadecimal")?;
        let record = Tlsa { usage, selector, matching, data };
        match is_usable(&record) {
            true => Ok(record),
            false => Err("it is of no kind that is used here, or its data are not of the right length"),
        }
    }
}

impl fmt::Display for Tlsa {
    /// `3 1 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.usage, self.selector, self.matching)
    }
}

/// What a host of a domain must offer; or why it must not be used at all.
///
/// Where both speak, DANE decides what the certificate must be, and MTA-STS cannot excuse a failure there (RFC 8461
/// section 2); a host that an enforced policy does not name is left out all the same (section 4.1). A policy that is only
/// tested changes nothing. `Off` is the owner's word against all of it.
pub fn demand(level: TlsLevel, dane: Dane, sts: Sts) -> Result<Demand, String> {
    if level == TlsLevel::Off {
        return Ok(Demand::Clear);
    }
    if sts == (Sts::Enforce { named: false }) {
        return Err("the domain's MTA-STS policy does not name this host".into());
    }
    let enforced = level == TlsLevel::Require || matches!(sts, Sts::Enforce { .. });
    Ok(match dane {
        Dane::Records(records) => Demand::Dane(records),
        _ if enforced => Demand::Verified,
        // The secure answer shows that the host means to do TLS (RFC 7672 section 2.2).
        Dane::Unusable => Demand::Encrypted,
        Dane::Absent => Demand::Opportunistic,
    })
}
