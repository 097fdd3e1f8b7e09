//! What a session must know before it begins.

use crate::smtp::Door;
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
    /// What there is of TLS when the session begins.
    pub tls: Tls,
}

/// Whether a session is private, or can become so (RFC 3207).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// It is in clear and stays so.
    #[default]
    Unavailable,
    /// STARTTLS is offered.
    Offered,
    /// It is under TLS.
    Active,
}
