//! An SMTP connection as a client: opened once (greeting, EHLO, STARTTLS, perhaps a login), then one letter after another.

use super::tls::{Secured, TlsClient};
use crate::policy::tls::Demand;
use crate::smtp::client::{Outcome, Request};
use crate::smtp::reply::Reply;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::net::TcpStream;

/// How a connection is to be opened.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// What we call ourselves in EHLO.
    pub helo: &'a str,
    /// The host's name: SNI, and what its certificate must name.
    pub host: &'a str,
    /// How the connection must be protected.
    pub demand: &'a Demand,
    /// Whether TLS begins at once (port 465) rather than by STARTTLS.
    pub implicit_tls: bool,
    /// What makes it private.
    pub tls: &'a TlsClient,
    /// Who logs in there, if anybody.
    pub login: Option<&'a Login>,
    /// No single wait takes longer.
    pub patience: Duration,
}

/// Credentials for a relay (`relay.via`).
#[derive(Clone)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password; never logged.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({})", self.user)
    }
}

/// Why a connection cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It refused us for good (5xx to the greeting, EHLO or the login), in its words.
    Refused(Reply),
    /// It put us off, broke, or did not answer: a sentence.
    Deferred(String),
    /// It does not offer the TLS that is demanded, or refuses STARTTLS: a sentence.
    NoTls(String),
    /// The handshake failed, or its certificate is not what is demanded: a sentence. Under `Opportunistic` the caller
    /// may connect anew with `Demand::Clear`.
    Handshake(String),
}

/// What protects a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Nothing: TLS was not offered, or not asked for.
    Clear,
    /// TLS.
    Tls(Secured),
}

/// An open connection.
pub struct Session {
    stream: TcpStream,
    protection: Protection,
}

impl Session {
    /// Greeting, EHLO (HELO), STARTTLS and EHLO again, login.
    pub async fn open(stream: TcpStream, opening: Opening<'_>) -> Result<Session, Trouble> {
        let _ = (stream, opening);
        Err(Trouble::Deferred("not built".into()))
    }

    /// One transaction. The message is read to its end: CRLF lines, not dot-stuffed. Faults are fates.
    pub async fn send<M: AsyncRead + Unpin>(&mut self, request: Request, message: M) -> Outcome {
        let _ = (request, message, &self.stream);
        Outcome { fates: Vec::new(), dot_sent: false }
    }

    /// Whether another letter can be sent.
    pub fn is_open(&self) -> bool {
        false
    }

    /// Whether the other side takes DSN parameters, and so the duty to report (RFC 3461).
    pub fn offers_dsn(&self) -> bool {
        false
    }

    /// What protects it.
    pub fn protection(&self) -> &Protection {
        &self.protection
    }

    /// Says QUIT, and closes without waiting for long.
    pub async fn quit(self) {}
}
