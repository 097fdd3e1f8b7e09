//! The client's session: opened once, then one transaction after another, each with one outcome per recipient,
//! pipelined where the server allows it. After anything odd it is over: no letter goes to a server that may be in
//! another state than we believe.

mod auth;
mod compose;
mod fitness;
mod offers;
mod opening;
mod transaction;
mod words;

pub use auth::Login;
pub use opening::{Hello, Privacy, Trouble};

use super::reply::Reply;
use super::reply::reader::ReplyReader;
use crate::mail::envelope::Envelope;
use offers::Offers;
use opening::Opening;
use std::time::Duration;
use transaction::Transaction;

/// What is to be sent.
#[derive(Clone, Debug)]
pub struct Request {
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

impl Outcome {
    /// The same fate for all of `recipients`, nothing having been sent.
    pub fn for_all(recipients: usize, fate: Fate) -> Outcome {
        Outcome { fates: vec![fate; recipients], dot_sent: false }
    }
}

/// What the driver has to do next.
pub enum Step {
    /// Send these bytes, then go on.
    Write(Vec<u8>),
    /// Read more and `feed` it.
    Read,
    /// Perform the TLS handshake, then say `secured`.
    Handshake,
    /// `begin` a transaction, or `quit`.
    Ready,
    /// Send the message, dot-stuffed (`data::Stuffer`), with the final dot, then go on.
    SendMessage,
    /// The transaction is over; said once.
    Done(Outcome),
    /// There is no session to be had here; said once.
    Failed(Trouble),
    /// The connection is of no more use: close it.
    Close,
}

/// A session's machine.
#[derive(Clone)]
pub struct Client {
    reader: ReplyReader,
    out: Vec<u8>,
    peer: Peer,
    phase: Phase,
    /// Why there is no TLS, once that is known.
    clear: Option<String>,
    /// The last transaction ended before its dot: the next one begins with RSET.
    unfinished: bool,
    replies: u64,
}

/// What is known of the server.
#[derive(Clone, Default)]
struct Peer {
    /// What it calls itself.
    name: Option<String>,
    offers: Offers,
    /// Whether we speak under TLS.
    private: bool,
}

#[derive(Clone)]
enum Phase {
    Opening(Opening),
    /// STARTTLS was accepted.
    Handshake(Hello),
    Ready,
    Transaction(Transaction),
    /// The outcome waits to be told; whether another transaction may follow.
    Settled(Outcome, bool),
    Failed(Trouble),
    Over,
}

impl Client {
    /// A machine that waits for the greeting.
    pub fn new(hello: Hello) -> Client {
        Client {
            reader: ReplyReader::default(),
            out: Vec::new(),
            peer: Peer { private: hello.privacy == Privacy::Given, ..Peer::default() },
            phase: Phase::Opening(Opening::greeted(hello)),
            clear: None,
            unfinished: false,
            replies: 0,
        }
    }

    /// Begins a transaction. Where the session is not ready, it ends at once.
    pub fn begin(&mut self, request: Request) {
        if !self.is_ready() {
            let fate = Fate::Deferred("the session with the server was over".into());
            self.phase = Phase::Settled(Outcome::for_all(request.envelope.recipients.len(), fate), false);
            return self.out.clear();
        }
        let mut transaction = Transaction::new(request);
        let ending = transaction.begin(&self.peer, self.unfinished, &mut self.out);
        self.phase = Phase::Transaction(transaction);
        self.end(ending);
    }

    /// The TLS handshake is done. What the server said before it is forgotten (RFC 3207 section 4.2).
    pub fn secured(&mut self) {
        if let Phase::Handshake(hello) = &self.phase {
            let hello = Hello { privacy: Privacy::Given, ..hello.clone() };
            self.peer = Peer { private: true, ..Peer::default() };
            self.phase = Phase::Opening(Opening::secured(hello, &mut self.out));
        }
    }

    /// Takes bytes that were read.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.reader.feed(bytes);
        while matches!(self.phase, Phase::Opening(_) | Phase::Transaction(_)) {
            match self.reader.next_reply() {
                // What is still to be written cannot have been answered.
                Ok(Some(_)) if !self.out.is_empty() => self.lost("the server answered before it was asked"),
                Ok(Some(reply)) => self.take(reply),
                Ok(None) => return,
                Err(fault) => self.fail(fault.0),
            }
        }
        if !self.reader.is_empty() {
            self.unasked();
        }
    }

    /// The connection ended, failed or timed out: `why` in words.
    pub fn lost(&mut self, why: &str) {
        let while_what = match &self.phase {
            Phase::Opening(opening) => format!("while waiting for {}", opening.awaited()),
            Phase::Transaction(transaction) => transaction.doing(),
            Phase::Handshake(_) => "during the TLS handshake".to_owned(),
            Phase::Ready | Phase::Settled(..) | Phase::Failed(_) | Phase::Over => return self.close(),
        };
        self.fail(format!("{why}, {while_what}"));
    }

    /// Ends the session in good manners.
    pub fn quit(&mut self) {
        if self.is_ready() {
            self.out.extend_from_slice(QUIT);
            self.phase = Phase::Over;
        }
    }

    /// The final dot is about to be written: from here on the server may have the message. A driver that writes the
    /// message in pieces says so before the last one; the step after `SendMessage` implies it.
    pub fn dot_begun(&mut self) {
        if let Phase::Transaction(transaction) = &mut self.phase {
            transaction.dot_begun();
        }
    }

    /// The final dot is written: what the server says now may be its answer. Implied as above.
    pub fn dot_written(&mut self) {
        if let Phase::Transaction(transaction) = &mut self.phase {
            transaction.dot_written();
        }
    }

    /// Whether the final dot of the transaction was begun and is not answered.
    pub fn dot_is_out(&self) -> bool {
        matches!(&self.phase, Phase::Transaction(transaction) if transaction.dot_is_out())
    }

    /// Whether the server has asked for the message, which it may refuse at any time.
    pub fn is_sending(&self) -> bool {
        matches!(&self.phase, Phase::Transaction(transaction) if transaction.is_sending())
    }

    /// Whether a transaction may begin.
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// Whether something is still expected of the server. When this becomes false while something is written, the rest
    /// must not be sent, least of all the dot: the server has answered before it was asked.
    pub fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Opening(_) | Phase::Transaction(_))
    }

    /// How many whole replies have come: when it grows, the wait of `timeout` begins anew.
    pub fn replies(&self) -> u64 {
        self.replies
    }

    /// The name that the server calls itself; known in a transaction, once `MAIL` is written.
    pub fn server_name(&self) -> Option<&str> {
        let transacts = matches!(self.phase, Phase::Transaction(_));
        self.peer.name.as_deref().filter(|_| transacts)
    }

    /// Why the session is not under TLS; none before that is known, or if it is.
    pub fn why_clear(&self) -> Option<&str> {
        self.clear.as_deref()
    }

    /// Whether the server takes DSN parameters, and so the duty to report (RFC 3461).
    pub fn offers_dsn(&self) -> bool {
        self.peer.offers.dsn
    }

    /// The next action.
    pub fn step(&mut self) -> Step {
        if !self.out.is_empty() {
            return Step::Write(std::mem::take(&mut self.out));
        }
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Settled(outcome, sane) => {
                self.phase = if sane { Phase::Ready } else { Phase::Over };
                return Step::Done(outcome);
            }
            Phase::Failed(trouble) => return Step::Failed(trouble),
            phase => self.phase = phase,
        }
        match &mut self.phase {
            Phase::Transaction(transaction) => {
                if transaction.tell_message() {
                    return Step::SendMessage;
                }
                transaction.dot_begun();
                transaction.dot_written();
                Step::Read
            }
            Phase::Opening(_) => Step::Read,
            Phase::Handshake(_) => Step::Handshake,
            Phase::Ready => Step::Ready,
            Phase::Settled(..) | Phase::Failed(_) | Phase::Over => Step::Close,
        }
    }

    /// How long to wait for the reply that is due, or in the message for a block to be taken (RFC 5321 section
    /// 4.5.3.2).
    pub fn timeout(&self) -> Duration {
        let minutes = match &self.phase {
            Phase::Transaction(transaction) => transaction.minutes(),
            _ => 5,
        };
        Duration::from_secs(60 * minutes)
    }

    fn take(&mut self, reply: Reply) {
        self.replies += 1;
        match &mut self.phase {
            Phase::Opening(opening) => {
                let next = opening.take(reply, &mut self.peer, &mut self.out);
                self.clear = opening.why_clear().map(str::to_owned);
                self.open(next);
            }
            Phase::Transaction(transaction) => {
                let ending = transaction.take(reply, &self.peer, &mut self.out);
                self.end(ending);
            }
            _ => {}
        }
    }

    fn open(&mut self, next: opening::Next) {
        match next {
            opening::Next::More => {}
            opening::Next::Ready => self.phase = Phase::Ready,
            opening::Next::Handshake(hello) => self.phase = Phase::Handshake(hello),
            opening::Next::Quit(trouble) => {
                self.out.extend_from_slice(QUIT);
                self.phase = Phase::Failed(trouble);
            }
            opening::Next::HangUp(trouble) => self.phase = Phase::Failed(trouble),
        }
    }

    fn end(&mut self, ending: transaction::Ending) {
        let Phase::Transaction(transaction) = &self.phase else { return };
        let outcome = transaction.outcome();
        match ending {
            transaction::Ending::NotYet => return,
            transaction::Ending::Sane => self.unfinished = transaction.is_unfinished(),
            transaction::Ending::Quit => self.out.extend_from_slice(QUIT),
            transaction::Ending::HangUp => self.out.clear(),
        }
        self.phase = Phase::Settled(outcome, ending == transaction::Ending::Sane);
    }

    /// Ends for a reason that is not the server's considered word.
    fn fail(&mut self, why: String) {
        self.out.clear();
        match &mut self.phase {
            Phase::Opening(opening) => self.phase = Phase::Failed(opening.broken(why)),
            Phase::Handshake(_) => self.phase = Phase::Failed(Trouble::Handshake(why)),
            Phase::Transaction(transaction) => {
                transaction.settle(Fate::Deferred(why));
                self.end(transaction::Ending::HangUp);
            }
            _ => self.close(),
        }
    }

    /// Octets came though nothing was asked. Behind the 220 to STARTTLS they may be a third party's, who wants them
    /// taken for what the server says under TLS (as in CVE-2011-0411); elsewhere the server is no longer in step.
    fn unasked(&mut self) {
        match self.phase {
            Phase::Handshake(_) => self.fail("the server said more behind its reply to STARTTLS".into()),
            _ => self.close(),
        }
    }

    /// Nothing more is said and no other transaction follows; what waits to be told stays.
    fn close(&mut self) {
        self.out.clear();
        match &mut self.phase {
            Phase::Settled(_, sane) => *sane = false,
            Phase::Ready => self.phase = Phase::Over,
            _ => {}
        }
    }
}

const QUIT: &[u8] = b"QUIT\r\n";

#[cfg(test)]
mod tests;
