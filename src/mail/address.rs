//! Addresses of RFC 5321 (4.1.2) and RFC 6531: parsed once, valid ever after.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(pub String);

/// A domain name as DNS carries it: lower-case A-labels, no trailing dot, at most 253 octets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(String);

impl Domain {
    /// Parses A-labels or U-labels (IDNA, UTS 46); an address literal is no domain.
    pub fn parse(text: &str) -> Result<Domain, AddressError> {
        let ascii = idna::domain_to_ascii(text).map_err(|_| AddressError(format!("no domain: {text:?}")))?;
        Ok(Domain(ascii.trim_end_matches('.').to_ascii_lowercase()))
    }

    /// The A-label form, lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Domain {
    type Error = AddressError;
    fn try_from(text: String) -> Result<Domain, AddressError> {
        Domain::parse(&text)
    }
}

impl From<Domain> for String {
    fn from(domain: Domain) -> String {
        domain.0
    }
}

/// What stands right of the `@`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A domain name.
    Domain(Domain),
    /// An address literal, `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
    Literal(IpAddr),
}

/// A mailbox address. The local part is held unquoted and as it was written; `Display` quotes it where needed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    local: String,
    host: Host,
}

impl Address {
    /// Parses `local@domain` without angle brackets (RFC 5321 `Mailbox`, with RFC 6531's UTF-8).
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        let (local, domain) =
            text.rsplit_once('@').ok_or_else(|| AddressError(format!("no @ in {text:?}")))?;
        Ok(Address { local: local.to_owned(), host: Host::Domain(Domain::parse(domain)?) })
    }

    /// The local part, unquoted, as it was written.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The local part as names are compared: ASCII case folded, NFC.
    pub fn folded_local(&self) -> String {
        use unicode_normalization::UnicodeNormalization;
        self.local.nfc().collect::<String>().to_ascii_lowercase()
    }

    /// What stands right of the `@`.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The domain, unless the host is an address literal.
    pub fn domain(&self) -> Option<&Domain> {
        match &self.host {
            Host::Domain(domain) => Some(domain),
            Host::Literal(_) => None,
        }
    }

    /// Whether the address can only be sent with SMTPUTF8 (the local part is not ASCII).
    pub fn needs_smtputf8(&self) -> bool {
        !self.local.is_ascii()
    }

    /// Whether both name the same mailbox by our own folding (local parts folded, hosts equal).
    pub fn same_as(&self, other: &Address) -> bool {
        self.host == other.host && self.folded_local() == other.folded_local()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Domain(domain) => write!(f, "{}@{domain}", self.local),
            Host::Literal(IpAddr::V4(ip)) => write!(f, "{}@[{ip}]", self.local),
            Host::Literal(IpAddr::V6(ip)) => write!(f, "{}@[IPv6:{ip}]", self.local),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;
    fn try_from(text: String) -> Result<Address, AddressError> {
        Address::parse(&text)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}
