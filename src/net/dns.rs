//! Names: the one wrapper around the resolver.

use crate::config;
use crate::mail::address::Domain;
use std::net::IpAddr;

/// Why DNS gave no answer. Always temporary; "there is no such thing" is an answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("DNS: {0}")]
pub struct DnsError(pub String);

/// One MX record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mx {
    /// The preference; lower comes first.
    pub preference: u16,
    /// The host.
    pub host: Domain,
}

/// What DNS says of a domain as a place that mail goes to (RFC 5321 section 5.1, RFC 7505).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailHosts {
    /// MX records, sorted by preference.
    Mx(Vec<Mx>),
    /// No MX, but an A or AAAA of the domain itself.
    Implicit,
    /// `MX 0 .`: takes no mail.
    NullMx,
    /// The domain does not exist.
    NoDomain,
    /// The domain exists, with no MX, A or AAAA.
    NoHosts,
}

/// A resolver; cheap to clone. Positive answers are cached for five minutes at most.
#[derive(Clone)]
pub struct Dns {
    _private: (),
}

impl Dns {
    /// A resolver with the configured servers, or those of the system.
    pub fn new(config: &config::Dns) -> Result<Dns, DnsError> {
        let _ = config;
        Ok(Dns { _private: () })
    }

    /// Where a domain's mail goes.
    pub async fn mail_hosts(&self, domain: &Domain) -> Result<MailHosts, DnsError> {
        let _ = domain;
        Err(DnsError("not yet".into()))
    }

    /// A and AAAA of a host; empty where there are none.
    pub async fn addresses(&self, host: &Domain) -> Result<Vec<IpAddr>, DnsError> {
        let _ = host;
        Err(DnsError("not yet".into()))
    }

    /// TXT records, the strings of each joined; empty where there are none. `name` may have underscores.
    pub async fn txt(&self, name: &str) -> Result<Vec<String>, DnsError> {
        let _ = name;
        Err(DnsError("not yet".into()))
    }
}
