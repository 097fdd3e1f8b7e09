//! Who may submit (DESIGN rules 1 to 7).

use crate::mail::address::Address;

/// What an Envelope-Seal says. At home: what is to be written; on the server: what was read.
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
