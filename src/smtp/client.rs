//! The client's session: one transaction, one outcome per recipient, pipelined where the server allows it.

use super::reply::Reply;
use crate::mail::envelope::Envelope;

/// What is to be sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// What we call ourselves in EHLO.
    pub helo: String,
    /// The envelope.
    pub envelope: Envelope,
    /// The message's size in octets, for `SIZE=`.
    pub size: u64,
    /// Whether the message has octets above 127 (needs 8BITMIME).
    pub eight_bit: bool,
    /// All recipients or none: one refused recipient ends the transaction before DATA (the submission client).
    pub all_or_none: bool,
}

/// Why a recipient did not get the letter, or that he did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The server answered the final dot with 2xx.
    Accepted(Reply),
    /// A 4xx, a fault of the connection or of the protocol: try again.
    Deferred(String),
    /// A 5xx, with the server's words.
    Refused(Reply),
}

/// What came of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// One fate per recipient of the envelope, in its order.
    pub fates: Vec<Fate>,
    /// Whether the final dot was sent: from there on only the same server may be asked again.
    pub dot_sent: bool,
}

/// What the driver has to do next.
#[derive(Debug)]
pub enum Step {
    /// Send these bytes, then go on.
    Write(Vec<u8>),
    /// Read more and `feed` it.
    Read,
    /// Send the message, dot-stuffed (`data::Stuffer`), with the final dot, then go on.
    SendMessage,
    /// Over.
    Done(Outcome),
}

/// One transaction's machine.
#[derive(Debug)]
pub struct Client {
    _request: Request,
}

impl Client {
    /// A machine that waits for the greeting.
    pub fn new(request: Request) -> Client {
        Client { _request: request }
    }

    /// Takes bytes that were read.
    pub fn feed(&mut self, bytes: &[u8]) {
        let _ = bytes;
    }

    /// The connection ended, failed or timed out: `why` in words. The next steps lead to `Done`.
    pub fn lost(&mut self, why: &str) {
        let _ = why;
    }

    /// The name that the server calls itself in its greeting; known once `MAIL` was written.
    pub fn server_name(&self) -> Option<&str> {
        None
    }

    /// The next action.
    pub fn step(&mut self) -> Step {
        Step::Done(Outcome { fates: Vec::new(), dot_sent: false })
    }

    /// How long to wait for the reply that is due (RFC 5321 section 4.5.3.2).
    pub fn timeout(&self) -> std::time::Duration {
        std::time::Duration::from_secs(300)
    }
}
