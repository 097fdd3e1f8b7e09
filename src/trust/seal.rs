//! The Envelope-Seal: binds one submission to its envelope, its server and its minute.

use super::keys::{KeyError, PrivateKey};
use crate::mail::address::Address;

/// What a seal says. At home: what is to be written; on the server: what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// `t=`: Unix time, seconds.
    pub time: i64,
    /// `n=`: 128 random bits, 32 hex digits; kept for the letter's life.
    pub nonce: String,
    /// `sv=`: the server's host name, as its greeting says it.
    pub server: String,
    /// `mf=`: the envelope sender.
    pub sender: Address,
    /// `rt=`: the envelope recipients.
    pub recipients: Vec<Address>,
}

/// The Envelope-Seal and the DKIM-Signature that covers it (CRLF-terminated, to stand in front of the signed
/// `message`).
pub fn seal(message: &[u8], seal: &Seal, key: &PrivateKey) -> Result<Vec<u8>, KeyError> {
    let _ = (message, seal, key);
    Err(KeyError("not yet".into()))
}
