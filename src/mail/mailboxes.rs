//! Address lists of header fields (RFC 5322 section 3.4): From, Sender, To, Cc, Bcc and their kin.

use super::address::{Address, AddressError};

/// One mailbox of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// The display name, decoded from quoting but not from RFC 2047.
    pub display: Option<String>,
    /// The address.
    pub address: Address,
}

/// Parses the value of a field that holds mailboxes, groups and comments, strictly: anything that does not parse
/// to the last octet is an error, so that what we saw is what every reader sees.
pub fn parse(value: &[u8]) -> Result<Vec<Mailbox>, AddressError> {
    let _ = value;
    Err(AddressError("not yet".into()))
}
