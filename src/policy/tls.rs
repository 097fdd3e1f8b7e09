//! How a connection to somebody's MX must be protected: a pure function of configuration, DANE and MTA-STS.

use crate::config::TlsLevel;

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

/// What a host of a domain must offer; or why it must not be used at all.
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
        Dane::Unusable => Demand::Encrypted,
        Dane::Absent => Demand::Opportunistic,
    })
}
