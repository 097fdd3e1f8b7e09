//! The server's session: bytes in, actions out. The driver performs the actions and answers them.

mod conduct;
mod input;
mod settings;
mod state;
mod step;

use super::command::{self, Command, Context};
pub use super::data::EndOfData;
use super::data::{Piece, Reader};
use super::reply::{Reply, say};
use crate::mail::envelope::{Recipient, Sender};
pub use conduct::Counts;
use conduct::{Conduct, Kind};
use input::{Input, Line};
pub use settings::{Settings, Tls};
use state::{Next, State, Transaction};
use std::time::Duration;
pub use step::Step;

/// RFC 5321 section 4.5.3.2.5: what a client may take for one block of data.
const BLOCK: Duration = Duration::from_secs(180);

/// One connection's side of the protocol.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    state: State,
    input: Input,
    output: Vec<u8>,
    greeted: Option<(String, bool)>,
    transaction: Option<Transaction>,
    /// The last MAIL was refused: what was pipelined behind it fails, but that is no error.
    sender_refused: bool,
    reset_due: bool,
    conduct: Conduct,
    farewell: Option<Reply>,
}

impl Session {
    /// A session whose greeting is already in `output`.
    pub fn new(settings: Settings) -> Session {
        let mut output = Vec::new();
        say::greeting(&settings.hostname).encode(&mut output);
        Session {
            conduct: Conduct::new(settings.recipients),
            settings,
            state: State::Command,
            input: Input::default(),
            output,
            greeted: None,
            transaction: None,
            sender_refused: false,
            reset_due: false,
            farewell: None,
        }
    }

    /// Takes bytes that were read. What is kept is what was fed at once and at most one command line more.
    pub fn feed(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Closed) {
            self.input.feed(bytes);
        }
    }

    /// The next action. One that must be answered comes again until it is.
    pub fn step(&mut self) -> Step<'_> {
        match self.advance() {
            Next::Read => Step::Read,
            Next::Body(range) => Step::Body(self.input.at(range)),
            Next::Reset => Step::Reset,
            Next::Close => Step::Close,
            Next::Ask => match &self.state {
                State::AskMail(sender) => Step::Mail(sender),
                State::AskRcpt(recipient) => Step::Rcpt(recipient),
                State::AskTls => Step::StartTls,
                State::AskData => Step::Data,
                State::AskEnd(end) => Step::EndOfData(*end),
                State::Command | State::Body(_) | State::Closed => Step::Close,
            },
        }
    }

    /// Answers `Mail`, `Rcpt`, `Data` or `EndOfData`; where none of them waits, does nothing. A 421 also ends the
    /// session. A refusal of `Data` voids the transaction.
    pub fn answer(&mut self, reply: Reply) {
        let good = reply.is_positive();
        let kind = if good { Kind::Fine } else { Kind::Fruitless };
        match std::mem::replace(&mut self.state, State::Command) {
            State::AskMail(sender) => {
                self.sender_refused = !good;
                self.transaction =
                    good.then_some(Transaction { smtputf8: sender.smtputf8, accepted: 0, refused: false });
                self.reply(reply, kind);
            }
            State::AskRcpt(_) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.accepted += usize::from(good);
                    transaction.refused |= !good;
                }
                self.reply(reply, kind);
            }
            State::AskData if good => {
                self.state = State::Body(Reader::new());
                self.reply(reply, Kind::Fine);
            }
            State::AskData => {
                self.void();
                self.reply(reply, kind);
            }
            State::AskEnd(_) => {
                self.transaction = None;
                if good {
                    self.conduct.letter();
                }
                self.reply(reply, kind);
            }
            other => self.state = other,
        }
    }

    /// The handshake that `StartTls` asked for was done. Nothing that was said in clear is remembered but how much it was: not
    /// the greeting, not the transaction, and not what came in one packet with STARTTLS, which anybody on the way may have put
    /// there (RFC 3207 section 4.2; CVE-2011-0411).
    pub fn secured(&mut self) {
        if matches!(self.state, State::AskTls) {
            self.state = State::Command;
            self.settings.tls = Tls::Active;
            self.input.clear();
            self.greeted = None;
            self.sender_refused = false;
            self.void();
        }
    }

    /// Ends the session with this reply (421 on shutdown, time-out, a fault): the next step is `Close`.
    pub fn abort(&mut self, reply: Reply) {
        if !matches!(self.state, State::Closed) {
            self.reset_due = false;
            self.close(reply);
        }
    }

    /// Takes what waits to be sent; replies of one read are gathered into one write.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// How long to wait for the next bytes (RFC 5321 section 4.5.3.2.7).
    pub fn timeout(&self) -> Duration {
        match self.state {
            State::Body(_) => self.settings.command_timeout.min(BLOCK),
            _ => self.settings.command_timeout,
        }
    }

    /// What the client has said so far.
    pub fn counts(&self) -> Counts {
        self.conduct.counts()
    }

    /// Whether an envelope is begun.
    pub fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// The reply that ended the session, once one did.
    pub fn farewell(&self) -> Option<&Reply> {
        self.farewell.as_ref()
    }

    /// What the client called itself, and whether it said EHLO; for `Received`.
    pub fn greeted_as(&self) -> Option<(&str, bool)> {
        self.greeted.as_ref().map(|(name, extended)| (name.as_str(), *extended))
    }

    fn advance(&mut self) -> Next {
        loop {
            if std::mem::take(&mut self.reset_due) {
                return Next::Reset;
            }
            match self.state {
                State::AskMail(_) | State::AskRcpt(_) | State::AskTls | State::AskData | State::AskEnd(_) => {
                    return Next::Ask;
                }
                State::Closed => return Next::Close,
                State::Command => match self.input.line() {
                    None => return Next::Read,
                    Some(Line::Text(line)) => self.command(&line),
                    Some(Line::TooLong) => self.reply(say::line_too_long(input::LINE), Kind::Error),
                    Some(Line::Foreign) => self.foreign(),
                    Some(Line::Bare) => self.refuse_and_close(say::bare_line_end()),
                },
                State::Body(_) => {
                    if let Some(next) = self.body() {
                        return next;
                    }
                }
            }
        }
    }

    fn command(&mut self, line: &[u8]) {
        self.conduct.command();
        let context = Context {
            hostname: &self.settings.hostname,
            door: self.settings.door,
            smtputf8: self.transaction.as_ref().is_some_and(|transaction| transaction.smtputf8),
        };
        match command::parse(line, context) {
            Err(reply) => self.reply(reply, Kind::Error),
            Ok(Command::Hello { name, extended }) => self.hello(name, extended),
            Ok(Command::Mail(sender)) => self.mail(sender),
            Ok(Command::Rcpt(recipient)) => self.rcpt(recipient),
            Ok(Command::Data) => self.data(),
            Ok(Command::Rset) => {
                self.void();
                self.sender_refused = false;
                self.reply(say::ok(), Kind::Fruitless);
            }
            Ok(Command::Quit) => self.close(say::bye()),
            Ok(Command::Noop) => self.reply(say::ok(), Kind::Fruitless),
            Ok(Command::Vrfy) => self.reply(say::vrfy(), Kind::Fruitless),
            Ok(Command::Help(topic)) => self.reply(say::help(&topic, self.settings.tls), Kind::Fruitless),
            Ok(Command::Expn) => self.reply(say::expn(), Kind::Error),
            Ok(Command::StartTls) => self.start_tls(),
            Ok(Command::Auth) => self.reply(say::auth(self.settings.door), Kind::Error),
            Ok(Command::NotOffered(verb)) => self.reply(say::not_offered(verb), Kind::Error),
            Ok(Command::Foreign) => self.foreign(),
        }
    }

    fn hello(&mut self, name: String, extended: bool) {
        self.void();
        self.sender_refused = false;
        self.greeted = Some((name, extended));
        let Settings { hostname, door, message_size, tls, .. } = &self.settings;
        let reply = match extended {
            true => say::ehlo(hostname, *door, *message_size, *tls),
            false => say::helo(hostname),
        };
        self.reply(reply, Kind::Fruitless);
    }

    /// In the midst of a transaction as well: RFC 3207 does not forbid it, and the transaction is forgotten with all else.
    fn start_tls(&mut self) {
        match self.settings.tls {
            Tls::Unavailable => self.reply(say::not_offered("STARTTLS"), Kind::Error),
            Tls::Active => self.reply(say::private_already(), Kind::Error),
            Tls::Offered if self.greeted.is_none() => self.reply(say::ehlo_first(), Kind::Error),
            Tls::Offered => {
                self.reply(say::go_ahead(), Kind::Fruitless);
                if !matches!(self.state, State::Closed) {
                    self.state = State::AskTls;
                }
            }
        }
    }

    fn mail(&mut self, sender: Sender) {
        if self.greeted.is_none() {
            self.reply(say::ehlo_first(), Kind::Error);
        } else if self.transaction.is_some() {
            self.reply(say::mail_again(), Kind::Error);
        } else if sender.size.is_some_and(|size| size > self.settings.message_size) {
            self.sender_refused = true;
            self.reply(say::too_large(self.settings.message_size), Kind::Fruitless);
        } else {
            self.state = State::AskMail(sender);
        }
    }

    fn rcpt(&mut self, recipient: Recipient) {
        match &self.transaction {
            None => self.no_transaction(),
            // Not counted against the client: it may have more recipients than we take at once, and must still come
            // to its DATA.
            Some(transaction) if transaction.accepted >= self.settings.recipients => {
                self.reply(say::too_many_recipients(self.settings.recipients), Kind::Fine);
            }
            Some(_) => self.state = State::AskRcpt(recipient),
        }
    }

    fn data(&mut self) {
        // DATA is the last of a pipelined group (RFC 2920 section 3.1). A body that is already here was sent by somebody
        // who does not listen; to read it as commands, or after a 354, is how letters are smuggled.
        if !self.input.rest().is_empty() {
            self.void();
            self.refuse_and_close(say::early_data());
            return;
        }
        match &self.transaction {
            None => self.no_transaction(),
            Some(Transaction { accepted: 0, refused: true, .. }) => {
                self.reply(say::all_rcpt_refused(), Kind::Fruitless);
            }
            Some(Transaction { accepted: 0, .. }) => self.reply(say::rcpt_first(), Kind::Error),
            Some(_) => self.state = State::AskData,
        }
    }

    fn no_transaction(&mut self) {
        match (self.sender_refused, &self.greeted) {
            (true, _) => self.reply(say::mail_was_refused(), Kind::Fruitless),
            (false, None) => self.reply(say::ehlo_first(), Kind::Error),
            (false, Some(_)) => self.reply(say::mail_first(), Kind::Error),
        }
    }

    /// One piece of the message; `None` where it gave no step. A message that will be refused is read to its real end
    /// without being handed out.
    fn body(&mut self) -> Option<Next> {
        let State::Body(reader) = &mut self.state else { return None };
        let (count, piece) = reader.next(self.input.rest());
        let wanted = reader.fault().is_none() && reader.size() <= self.settings.message_size;
        match piece {
            Piece::Body(body) => {
                let skipped = count - body.len();
                let range = self.input.take(count);
                wanted.then_some(Next::Body(range.start + skipped..range.end))
            }
            Piece::More => {
                self.input.take(count);
                Some(Next::Read)
            }
            Piece::End => {
                let reader = reader.clone();
                self.input.take(count);
                self.end_of_data(&reader);
                None
            }
        }
    }

    fn end_of_data(&mut self, reader: &Reader) {
        self.state = State::Command;
        if let Some(fault) = reader.fault() {
            self.void();
            self.refuse_and_close(say::bad_octets(&fault.to_string()));
        } else if reader.size() > self.settings.message_size {
            self.void();
            self.reply(say::too_large(self.settings.message_size), Kind::Fruitless);
        } else {
            self.state = State::AskEnd(reader.facts());
        }
    }

    /// Ends the transaction, if there is one; the driver is told by the next step.
    fn void(&mut self) {
        self.reset_due |= self.transaction.take().is_some();
    }

    fn reply(&mut self, reply: Reply, kind: Kind) {
        let reply = self.conduct.judge(reply, kind);
        if reply.code == 421 { self.close(reply) } else { reply.encode(&mut self.output) }
    }

    /// Another protocol. Not one line more of it is read: somebody may have had a browser write commands for us behind the
    /// request that it began with.
    fn foreign(&mut self) {
        self.void();
        self.close(say::foreign());
    }

    /// The answer to what came is final, so it is no 421; the end is told apart.
    fn refuse_and_close(&mut self, reply: Reply) {
        reply.encode(&mut self.output);
        self.close(say::closing());
    }

    fn close(&mut self, reply: Reply) {
        reply.encode(&mut self.output);
        self.farewell = Some(reply);
        self.state = State::Closed;
    }
}

#[cfg(test)]
mod tests;
