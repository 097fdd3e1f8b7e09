//! The envelope: who a letter is from and for, with the parameters that ESMTP hangs on it.

use super::address::Address;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What `MAIL FROM:` names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReversePath {
    /// `<>`: a report, to which nobody may answer.
    Null,
    /// A sender.
    Address(Address),
}

impl ReversePath {
    /// The sender's address, unless it is `<>`.
    pub fn address(&self) -> Option<&Address> {
        match self {
            ReversePath::Null => None,
            ReversePath::Address(address) => Some(address),
        }
    }
}

/// Without the angle brackets: the empty string for `<>`.
impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReversePath::Null => Ok(()),
            ReversePath::Address(address) => address.fmt(f),
        }
    }
}

/// `BODY=` of RFC 6152.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BodyType {
    /// `7BIT`, or no parameter.
    #[default]
    SevenBit,
    /// `8BITMIME`.
    EightBitMime,
}

/// `RET=` of RFC 3461: what a failure report returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ret {
    /// The whole letter.
    Full,
    /// Its header only.
    Headers,
}

/// `NOTIFY=` of RFC 3461; all false is `NEVER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// `SUCCESS`.
    pub success: bool,
    /// `FAILURE`.
    pub failure: bool,
    /// `DELAY`.
    pub delay: bool,
}

/// `MAIL FROM` and its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// The reverse path.
    pub path: ReversePath,
    /// `SIZE=`, in octets (RFC 1870).
    pub size: Option<u64>,
    /// `BODY=`.
    pub body: BodyType,
    /// `SMTPUTF8` (RFC 6531).
    pub smtputf8: bool,
    /// `RET=`.
    pub ret: Option<Ret>,
    /// `ENVID=`, decoded from xtext.
    pub envid: Option<String>,
}

impl Sender {
    /// `path` with no parameters.
    pub fn new(path: ReversePath) -> Sender {
        Sender { path, size: None, body: BodyType::SevenBit, smtputf8: false, ret: None, envid: None }
    }
}

/// `RCPT TO` and its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// The forward path; source routes are gone.
    pub address: Address,
    /// `NOTIFY=`.
    pub notify: Option<Notify>,
    /// `ORCPT=`, as `type;text`, decoded from xtext.
    pub orcpt: Option<String>,
}

impl Recipient {
    /// `address` with no parameters.
    pub fn new(address: Address) -> Recipient {
        Recipient { address, notify: None, orcpt: None }
    }
}

/// A whole envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Who the letter is from.
    pub sender: Sender,
    /// Who it is for; never empty in a committed letter.
    pub recipients: Vec<Recipient>,
}
