//! An SMTP connection as a client: opened once (greeting, EHLO, STARTTLS, perhaps a login), then one letter after
//! another. Drives the machine of `smtp::client` over any stream.

mod line;
mod talk;

use super::tls::{Secured, TlsClient};
use crate::policy::tls::Demand;
use crate::smtp::client::{Client, Fate, Hello, Outcome, Privacy, Request, Step};
pub use crate::smtp::client::{Login, Trouble};
use line::Line;
use std::io;
use std::time::Duration;
use talk::Talk;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// How long the opening may take over all, handshakes included. The waits of RFC 5321 section 4.5.3.2 are for one reply
/// each; a server that answers each command just in time could hold a delivery for hours.
const OPENING: Duration = Duration::from_secs(10 * 60);
/// How long a transaction may take up to its dot, besides what the message takes at `SLOWEST`. A hundred recipients at
/// ten seconds each fit. The reply to the dot has its ten minutes in any case: to give up earlier doubles the letter.
const TRANSACTION: Duration = Duration::from_secs(20 * 60);
/// The slowest line that a message is sent over, in octets a second.
const SLOWEST: u64 = 1024;
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(60);

/// How a connection is to be opened.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// What we call ourselves in EHLO.
    pub helo: &'a str,
    /// The host's name, which goes into SNI and which its certificate must have; behind it those that a certificate under
    /// DANE may have instead.
    pub names: &'a [&'a str],
    /// How the connection must be protected.
    pub demand: &'a Demand,
    /// Whether TLS begins at once (port 465) rather than by STARTTLS.
    pub implicit_tls: bool,
    /// What makes it private.
    pub tls: &'a TlsClient,
    /// Who logs in there, if anybody: under TLS, never in clear.
    pub login: Option<&'a Login>,
    /// No single wait takes longer.
    pub patience: Duration,
}

/// What protects a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Nothing, and why: `not offered`, `not asked for`, `refused: 454 …`.
    Clear(String),
    /// TLS.
    Tls(Secured),
}

/// An open connection.
pub struct Session<S = TcpStream> {
    talk: Talk<S>,
    protection: Protection,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Greeting, EHLO (HELO), STARTTLS and EHLO again, login. After an error the stream is closed.
    pub async fn open(stream: S, opening: Opening<'_>) -> Result<Session<S>, Trouble> {
        let privacy = match opening.demand {
            _ if opening.implicit_tls => Privacy::Given,
            Demand::Clear => Privacy::Unasked,
            Demand::Opportunistic => Privacy::IfOffered,
            Demand::Encrypted | Demand::Verified | Demand::Dane(_) => Privacy::Demanded,
        };
        let hello = Hello { helo: opening.helo.to_owned(), privacy, login: opening.login.cloned() };
        let (line, secured) = if opening.implicit_tls {
            let (line, secured) = handshake(Line::Clear(stream), &opening).await?;
            (line, Some(secured))
        } else {
            (Line::Clear(stream), None)
        };
        begin(Talk::new(line, Client::new(hello), opening.patience), secured, Some(&opening)).await
    }

    /// As `open`, in clear and without a login: for a stream that is private by itself, or that need not be.
    pub async fn open_clear(stream: S, helo: &str, patience: Duration) -> Result<Session<S>, Trouble> {
        let hello = Hello { helo: helo.to_owned(), privacy: Privacy::Unasked, login: None };
        begin(Talk::new(Line::Clear(stream), Client::new(hello), patience), None, None).await
    }

    /// One transaction. The message is read to its end: CRLF lines, not dot-stuffed. Faults are fates.
    ///
    /// A message of some kilobytes is best given as `&[u8]`: it goes out in one write, behind the envelope's.
    pub async fn send<M: AsyncRead + Unpin>(&mut self, request: Request, message: M) -> Outcome {
        self.send_made(request, |_| Ok(message)).await
    }

    /// As `send`, for a message that is made while its envelope travels: `make` is given the name that the server calls
    /// itself (home seals for exactly that server). It is not called where the letter cannot go.
    pub async fn send_made<M: AsyncRead + Unpin>(
        &mut self,
        request: Request,
        make: impl FnOnce(&str) -> io::Result<M>,
    ) -> Outcome {
        let (count, size) = (request.envelope.recipients.len(), request.size);
        let talk = &mut self.talk;
        talk.allow(TRANSACTION + Duration::from_secs(size / SLOWEST));
        talk.client.begin(request);
        let (mut make, mut message) = (Some(make), None);
        let outcome = loop {
            match talk.client.step() {
                Step::Write(bytes) => {
                    talk.write(&bytes).await;
                    if let Some(name) = talk.client.server_name()
                        && let Some(make) = make.take()
                    {
                        match make(name) {
                            Ok(made) => message = Some(made),
                            Err(error) => talk.client.lost(&talk::unreadable(&error)),
                        }
                    }
                }
                Step::Read => talk.read().await,
                Step::SendMessage => match message.take() {
                    Some(message) => talk.send(message, size).await,
                    None => talk.client.lost("there is no message to send"),
                },
                Step::Done(outcome) => break outcome,
                Step::Handshake | Step::Ready | Step::Failed(_) | Step::Close => {
                    break Outcome::for_all(count, Fate::Deferred("the session is over".into()));
                }
            }
        };
        if !talk.client.is_ready() {
            talk.close().await;
        }
        outcome
    }

    /// Whether another letter can be sent: the session is sane, and the server has not hung up meanwhile.
    pub fn is_open(&mut self) -> bool {
        self.talk.is_quiet()
    }

    /// Whether the other side takes DSN parameters, and so the duty to report (RFC 3461).
    pub fn offers_dsn(&self) -> bool {
        self.talk.client.offers_dsn()
    }

    /// What protects it.
    pub fn protection(&self) -> &Protection {
        &self.protection
    }

    /// The other side's own certificate, DER, where there is TLS.
    pub fn certificate(&self) -> Option<&[u8]> {
        match &self.talk.line {
            Line::Clear(_) => None,
            Line::Tls(stream) => stream.get_ref().1.peer_certificates()?.first().map(AsRef::as_ref),
        }
    }

    /// Says QUIT, and closes without waiting for the reply.
    pub async fn quit(mut self) {
        self.talk.quit().await;
    }
}

/// Talks until the session is ready. `opening` is what a handshake needs; where there is none, none is asked for.
async fn begin<S: AsyncRead + AsyncWrite + Unpin>(
    mut talk: Talk<S>,
    mut secured: Option<Secured>,
    opening: Option<&Opening<'_>>,
) -> Result<Session<S>, Trouble> {
    talk.allow(OPENING);
    loop {
        match (talk.client.step(), opening) {
            (Step::Write(bytes), _) => talk.write(&bytes).await,
            (Step::Read, _) => talk.read().await,
            (Step::Handshake, Some(opening)) => {
                let (line, found) = handshake(talk.line, opening).await?;
                talk.line = line;
                talk.client.secured();
                secured = Some(found);
            }
            (Step::Ready, _) => break,
            (Step::Failed(trouble), _) => {
                talk.close().await;
                return Err(trouble);
            }
            (Step::Handshake | Step::SendMessage | Step::Done(_) | Step::Close, _) => {
                return Err(Trouble::Deferred("the session was over before it began".into()));
            }
        }
    }
    let why = || talk.client.why_clear().unwrap_or("not asked for").to_owned();
    let protection = secured.map_or_else(|| Protection::Clear(why()), Protection::Tls);
    Ok(Session { talk, protection })
}

async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    line: Line<S>,
    opening: &Opening<'_>,
) -> Result<(Line<S>, Secured), Trouble> {
    let Line::Clear(stream) = line else {
        return Err(Trouble::Handshake("the connection is under TLS already".into()));
    };
    let patience = opening.patience.min(HANDSHAKE);
    let hands = opening.tls.handshake(stream, opening.names, opening.demand, patience).await;
    let (stream, secured) = hands.map_err(|error| Trouble::Handshake(error.to_string()))?;
    Ok((Line::Tls(Box::new(stream)), secured))
}

#[cfg(test)]
mod tests;
