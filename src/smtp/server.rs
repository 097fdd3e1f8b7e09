//! The server's session: bytes in, actions out. The driver performs the actions and answers them.

use super::{Door, reply::Reply};
use crate::mail::envelope::{Recipient, Sender};
use std::time::Duration;

/// What a session must know beforehand.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our name, in the greeting and in EHLO's reply.
    pub hostname: String,
    /// Which door; DSN (RFC 3461) is offered on submission only.
    pub door: Door,
    /// The largest message, in octets (`SIZE`).
    pub message_size: u64,
    /// The most recipients of one message; more get 452 4.5.3.
    pub recipients: usize,
    /// How long a client may take for a command.
    pub command_timeout: Duration,
}

/// Facts about a message whose final dot has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndOfData {
    /// Octets that came out as `Step::Body`, dot-stuffing undone.
    pub size: u64,
    /// The longest line, without CRLF.
    pub longest_line: usize,
    /// Whether any octet was above 127.
    pub eight_bit: bool,
}

/// What the driver has to do next.
#[derive(Debug)]
pub enum Step<'a> {
    /// Send what is in `output`, then read more and `feed` it.
    Read,
    /// `MAIL` came: answer it. A positive answer opens the transaction.
    Mail(&'a Sender),
    /// `RCPT` came: answer it. A positive answer adds the recipient.
    Rcpt(&'a Recipient),
    /// `DATA` came and there is a recipient: answer 354 or a refusal.
    Data,
    /// A slice of the message, dot-stuffing undone, CRLF kept. Nothing to answer.
    Body(&'a [u8]),
    /// The final dot came: answer it. It is the last action of the transaction, whatever the answer. A message that
    /// was too large or had a lone CR, LF or NUL is refused by the session itself and ends in `Reset` instead.
    EndOfData(EndOfData),
    /// The transaction is void (RSET, EHLO, refused data): drop what was gathered. Nothing to answer.
    Reset,
    /// Send what is in `output` and close.
    Close,
}

/// One connection's side of the protocol.
#[derive(Debug)]
pub struct Session {
    _settings: Settings,
}

impl Session {
    /// A session whose greeting is already in `output`.
    pub fn new(settings: Settings) -> Session {
        Session { _settings: settings }
    }

    /// Takes bytes that were read.
    pub fn feed(&mut self, bytes: &[u8]) {
        let _ = bytes;
    }

    /// The next action.
    pub fn step(&mut self) -> Step<'_> {
        Step::Close
    }

    /// Answers `Mail`, `Rcpt`, `Data` or `EndOfData`.
    pub fn answer(&mut self, reply: Reply) {
        let _ = reply;
    }

    /// Ends the session with this reply (421 on shutdown, time-out, a fault): the next step is `Close`.
    pub fn abort(&mut self, reply: Reply) {
        let _ = reply;
    }

    /// Takes what waits to be sent; replies of one read are gathered into one write.
    pub fn take_output(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// How long to wait for the next bytes (RFC 5321 section 4.5.3.2.7).
    pub fn timeout(&self) -> Duration {
        self._settings.command_timeout
    }

    /// What the client called itself, and whether it said EHLO; for `Received`.
    pub fn greeted_as(&self) -> Option<(&str, bool)> {
        None
    }
}
