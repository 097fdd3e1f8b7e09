//! Address lists of header fields (RFC 5322 section 3.4): From, Sender, To, Cc, Bcc and their kin.

pub(crate) mod grammar;

use super::address::{Address, AddressError, Domain, Host};
use grammar::{Layout, Manner, Spot};
use std::borrow::Cow;

/// One mailbox of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// The display name, decoded from quoting but not from RFC 2047.
    pub display: Option<String>,
    /// The address.
    pub address: Address,
}

/// Parses the value of a field that holds mailboxes, groups and comments, strictly: anything that does not parse
/// to the last octet is an error, so that what we saw is what every reader sees. Of RFC 5322's obsolete forms only
/// the dot in a display name (`John Q. Public <…>`) is taken. A list without a mailbox is an error, except for an
/// empty group.
pub fn parse(value: &[u8]) -> Result<Vec<Mailbox>, AddressError> {
    let text = utf8(value)?;
    strict_mailboxes(text, read_strictly(text)?)
}

/// [`parse`] for From and its kin, where RFC 5322 section 3.6.2 has no groups: the name of one, `"boss@example.net":;`,
/// stands there as one more author, with no mailbox that could be held against it.
pub fn parse_authors(value: &[u8]) -> Result<Vec<Mailbox>, AddressError> {
    let text = utf8(value)?;
    let layout = read_strictly(text)?;
    if layout.groups > 0 {
        return Err(AddressError("it holds a group, where only mailboxes may stand".into()));
    }
    strict_mailboxes(text, layout)
}

fn utf8(value: &[u8]) -> Result<&str, AddressError> {
    std::str::from_utf8(value)
        .map_err(|_| AddressError("an address list has octets that are no UTF-8".into()))
}

fn read_strictly(text: &str) -> Result<Layout, AddressError> {
    grammar::read(text, Manner::Strict)
        .map_err(|fault| AddressError::about(text[fault.at..].trim(), fault.reason))
}

fn strict_mailboxes(text: &str, layout: Layout) -> Result<Vec<Mailbox>, AddressError> {
    layout.spots.into_iter().map(|spot| strict_mailbox(text, spot)).collect()
}

fn strict_mailbox(text: &str, spot: Spot) -> Result<Mailbox, AddressError> {
    if text[spot.local_span.clone()].contains(['\r', '\n']) {
        return Err(AddressError::about(&spot.local, "is folded within the part before the @"));
    }
    match target(text, &spot)? {
        Target::Full(address) => Ok(Mailbox { display: spot.display, address }),
        Target::Unqualified(local) => Err(AddressError::about(&local, "has no @domain")),
    }
}

/// What a mailbox of a lenient list points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A whole address.
    Full(Address),
    /// A local part alone (unquoted), as in `To: root`.
    Unqualified(String),
}

impl Target {
    /// The address, with `domain` behind an unqualified local part.
    pub fn complete(&self, domain: &Domain) -> Result<Address, AddressError> {
        match self {
            Target::Full(address) => Ok(address.clone()),
            Target::Unqualified(local) => Address::new(local, Host::Domain(domain.clone())),
        }
    }
}

/// One mailbox of a lenient list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The display name, decoded from quoting but not from RFC 2047.
    pub display: Option<String>,
    /// Where it points.
    pub target: Target,
}

/// Reads a list as `sendmail -t` must: groups are opened (an empty one is nobody), unqualified names are kept for the
/// caller to complete, source routes dropped, empty elements skipped. Never fails: the second part holds, as text,
/// the entries that could not be read; a caller that sends to the others anyway has to say so.
pub fn parse_lenient(value: &[u8]) -> (Vec<Named>, Vec<String>) {
    let text = String::from_utf8_lossy(value);
    let damaged = matches!(text, Cow::Owned(_));
    let Layout { spots, unread, .. } = grammar::read_tolerantly(&text);
    let mut named = Vec::new();
    let mut unread: Vec<String> = unread.into_iter().map(|span| text[span].trim().to_owned()).collect();
    for spot in spots {
        let written = &text[spot.span()];
        match target(&text, &spot) {
            // A replacement character may stand for octets that were no UTF-8: nobody's address.
            Ok(target) if !damaged || !written.contains(char::REPLACEMENT_CHARACTER) => {
                named.push(Named { display: spot.display, target });
            }
            _ => unread.push(written.to_owned()),
        }
    }
    (named, unread)
}

/// A display name as a header may carry it: as atoms, or quoted. Control characters become spaces.
pub fn phrase(display: &str) -> String {
    let plain: String = display.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let plain = plain.trim();
    if !plain.is_empty() && plain.split(' ').all(|word| !word.is_empty() && word.chars().all(is_plain_atext))
    {
        return plain.to_owned();
    }
    format!("\"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Atoms that nobody can take for an encoded-word.
fn is_plain_atext(c: char) -> bool {
    c != '=' && super::address::is_atext(c)
}

fn target(text: &str, spot: &Spot) -> Result<Target, AddressError> {
    match &spot.host_span {
        Some(host) => Address::new(&spot.local, Host::parse(&text[host.clone()])?).map(Target::Full),
        // The domain to come is not known yet; any will do to judge the local part.
        None => Address::new(&spot.local, Host::Literal([127, 0, 0, 1].into()))
            .map(|address| Target::Unqualified(address.local().to_owned())),
    }
}

#[cfg(test)]
mod tests;
