//! Addresses of RFC 5321 (4.1.2) and RFC 6531: parsed once, valid ever after.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use unicode_normalization::UnicodeNormalization;

/// The longest local part, in octets, without quotes (RFC 5321 section 4.5.3.1.1).
const LOCAL_MAX: usize = 64;
/// The longest address, in octets: a path of 256 (section 4.5.3.1.3) without its angle brackets.
const ADDRESS_MAX: usize = 254;
/// The longest domain, in octets, and the longest label (RFC 1035 section 2.3.4, less the length octets).
const DOMAIN_MAX: usize = 253;
const LABEL_MAX: usize = 63;

/// Why a text is no address. ASCII only and one line, whatever the text was: fit for a reply or a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(pub String);

impl AddressError {
    /// `text` shown harmlessly (escaped, cut short), and what is wrong with it.
    pub(crate) fn about(text: &str, reason: &str) -> AddressError {
        const SHOWN: usize = 60;
        let shown: String = text.chars().take(SHOWN).flat_map(char::escape_default).collect();
        let more = if text.chars().nth(SHOWN).is_some() { "..." } else { "" };
        AddressError(format!("\"{shown}{more}\" {reason}"))
    }
}

/// A domain name as DNS carries it: lower-case A-labels, no trailing dot, at most 253 octets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(String);

impl Domain {
    /// Parses A-labels or U-labels (IDNA, UTS 46); an address literal is no domain. One trailing dot, as DNS tools
    /// print it, is taken off here (a mailbox may not have one).
    pub fn parse(text: &str) -> Result<Domain, AddressError> {
        let bare = text.strip_suffix('.').unwrap_or(text);
        let ascii = idna::domain_to_ascii(bare)
            .map_err(|_| AddressError::about(text, "is no domain name (IDNA refuses it)"))?
            .to_ascii_lowercase();
        match domain_fault(&ascii) {
            Some(reason) => Err(AddressError::about(text, reason)),
            None => Ok(Domain(ascii)),
        }
    }

    /// The A-label form, lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The U-label form for people to read; for machines there is `as_str`.
    pub fn unicode(&self) -> String {
        match idna::domain_to_unicode(&self.0) {
            (text, Ok(())) => text,
            (_, Err(_)) => self.0.clone(),
        }
    }
}

/// `idna` lets `_`, empty labels and any length pass: letters, digits and hyphens only (RFC 5321 `Domain`), and a
/// last label that is not a number, so that `me@192.0.2.1` is not taken for a name.
fn domain_fault(ascii: &str) -> Option<&'static str> {
    if ascii.is_empty() {
        return Some("is no domain name: it is empty");
    }
    if ascii.len() > DOMAIN_MAX {
        return Some("is no domain name: it is longer than 253 octets");
    }
    for label in ascii.split('.') {
        let ldh = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if label.is_empty() {
            return Some("is no domain name: a label is empty");
        }
        if label.len() > LABEL_MAX {
            return Some("is no domain name: a label is longer than 63 octets");
        }
        if !label.bytes().all(ldh) || label.starts_with('-') || label.ends_with('-') {
            return Some("is no domain name: a label has more than letters, digits and inner hyphens");
        }
    }
    let last = ascii.rsplit('.').next().unwrap_or(ascii);
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return Some("is no domain name: it ends in a number (an IP address goes into [brackets])");
    }
    None
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

impl Host {
    /// Parses a domain, or an address literal with its brackets (RFC 5321 section 4.1.3). No trailing dot.
    pub fn parse(text: &str) -> Result<Host, AddressError> {
        if text.starts_with('[') {
            return literal(text).map(Host::Literal).ok_or_else(|| {
                AddressError::about(text, "is no address literal ([192.0.2.1], [IPv6:2001:db8::1])")
            });
        }
        if text.ends_with('.') {
            return Err(AddressError::about(text, "ends with a dot, which an address may not"));
        }
        Domain::parse(text).map(Host::Domain)
    }
}

fn literal(text: &str) -> Option<IpAddr> {
    const TAG: &str = "IPv6:";
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    match inner.get(..TAG.len()) {
        Some(tag) if tag.eq_ignore_ascii_case(TAG) => {
            inner.get(TAG.len()..)?.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        _ => inner.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Domain(domain) => domain.fmt(f),
            Host::Literal(IpAddr::V4(ip)) => write!(f, "[{ip}]"),
            Host::Literal(IpAddr::V6(ip)) => write!(f, "[IPv6:{ip}]"),
        }
    }
}

/// A mailbox address. The local part is held unquoted and as it was written; `Display` quotes it where needed.
/// No control character (C0, DEL, C1) is ever in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    local: String,
    host: Host,
}

impl Address {
    /// Parses `local@domain` without angle brackets (RFC 5321 `Mailbox`, with RFC 6531's UTF-8).
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        let (local, host) = if text.starts_with('"') {
            let (local, rest) = unquote(text).ok_or_else(|| {
                AddressError::about(
                    text,
                    "is no address: its quoted local part does not end or has a bad character",
                )
            })?;
            let host = rest
                .strip_prefix('@')
                .ok_or_else(|| AddressError::about(text, "is no address: no @ behind the quotes"))?;
            (local, host)
        } else {
            let (local, host) = text
                .rsplit_once('@')
                .ok_or_else(|| AddressError::about(text, "is no address: there is no @ in it"))?;
            if !is_dot_atom(local) {
                return Err(AddressError::about(
                    text,
                    "is no address: the part before the @ must be quoted, or has a misplaced dot, or is empty",
                ));
            }
            (local.to_owned(), host)
        };
        Address::new(&local, Host::parse(host)?)
    }

    /// An address of an *unquoted* local part and a host.
    pub fn new(local: &str, host: Host) -> Result<Address, AddressError> {
        if local.is_empty() {
            return Err(AddressError("the part before the @ is empty".into()));
        }
        if local.chars().any(char::is_control) {
            return Err(AddressError::about(local, "has a control character, which no address may have"));
        }
        if local.len() > LOCAL_MAX {
            return Err(AddressError::about(
                local,
                "is longer than the 64 octets that may stand before the @",
            ));
        }
        let address = Address { local: local.to_owned(), host };
        if address.to_string().len() > ADDRESS_MAX {
            return Err(AddressError::about(local, "makes an address of more than 254 octets"));
        }
        Ok(address)
    }

    /// The local part, unquoted, as it was written.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The local part as names are compared: ASCII case folded, NFC.
    pub fn folded_local(&self) -> String {
        fold_local(&self.local)
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

/// A local part (or a directory's name) as names are compared: ASCII case folded, NFC. Folding twice changes nothing.
pub fn fold_local(local: &str) -> String {
    // Normalised on both sides: lower case can open a composition that upper case has not (W + ring, w + ring), and
    // normalising can bring forth an ASCII capital (the Kelvin sign).
    local.nfc().map(|c| c.to_ascii_lowercase()).nfc().collect()
}

/// RFC 5322 `atext`, with RFC 6532's UTF-8.
pub(crate) fn is_atext(c: char) -> bool {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' => true,
        '!' | '#' | '$' | '%' | '&' | '\'' | '*' | '+' | '-' | '/' | '=' | '?' => true,
        '^' | '_' | '`' | '{' | '|' | '}' | '~' => true,
        _ => !c.is_ascii() && !c.is_control(),
    }
}

/// Whether the text is a dot-atom: atoms with single dots between them.
pub(crate) fn is_dot_atom(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// Takes a quoted string off the front: its content and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut content = String::new();
    let mut chars = text.strip_prefix('"')?.chars();
    loop {
        match chars.next()? {
            '"' => return Some((content, chars.as_str())),
            '\\' => match chars.next()? {
                c @ ' '..='~' => content.push(c),
                _ => return None,
            },
            c if c.is_control() => return None,
            c => content.push(c),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_atom(&self.local) {
            return write!(f, "{}@{}", self.local, self.host);
        }
        f.write_str("\"")?;
        for c in self.local.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        write!(f, "\"@{}", self.host)
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

#[cfg(test)]
mod tests;
