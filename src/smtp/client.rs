//! The client's session: one transaction, one outcome per recipient, pipelined where the server allows it.

mod compose;
mod fitness;
mod greeting;
mod offers;
mod words;

use super::reply::Reply;
use super::reply::reader::ReplyReader;
use crate::mail::envelope::Envelope;
use offers::Offers;
use std::collections::VecDeque;
use std::time::Duration;

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
#[derive(Clone, Debug)]
pub struct Client {
    request: Request,
    reader: ReplyReader,
    stage: Stage,
    out: Vec<u8>,
    offers: Offers,
    server: Option<String>,
    /// Commands still to be written.
    unsent: VecDeque<Verb>,
    /// Commands written and not answered.
    unanswered: VecDeque<Verb>,
    recipients: Vec<Progress>,
    dot_sent: bool,
    replies: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Greeting,
    Ehlo,
    Helo,
    Envelope,
    /// 354 came; whether the driver was told.
    Message {
        told: bool,
    },
    Dot,
    /// 354 came though no recipient was accepted; the dot alone ends that.
    LoneDot,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Mail,
    Rcpt(usize),
    Data,
}

#[derive(Clone, Debug)]
enum Progress {
    Open,
    /// RCPT was answered with 2xx; what counts is the reply to the dot.
    Taken,
    Settled(Fate),
}

impl Client {
    /// A machine that waits for the greeting.
    pub fn new(request: Request) -> Client {
        let recipients = vec![Progress::Open; request.envelope.recipients.len()];
        Client {
            request,
            reader: ReplyReader::default(),
            stage: Stage::Greeting,
            out: Vec::new(),
            offers: Offers::default(),
            server: None,
            unsent: VecDeque::new(),
            unanswered: VecDeque::new(),
            recipients,
            dot_sent: false,
            replies: 0,
        }
    }

    /// Takes bytes that were read.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.reader.feed(bytes);
        while self.stage != Stage::Over {
            match self.reader.next_reply() {
                Ok(Some(reply)) => self.take(reply),
                Ok(None) => return,
                Err(fault) => self.end(Fate::Deferred(fault.0)),
            }
        }
    }

    /// The connection ended, failed or timed out: `why` in words. The next steps lead to `Done`.
    pub fn lost(&mut self, why: &str) {
        let what = match self.stage {
            Stage::Message { .. } => "while the message was being sent".to_owned(),
            _ => format!("while waiting for {}", self.awaited()),
        };
        self.end(Fate::Deferred(format!("{why}, {what}")));
    }

    /// The final dot is about to be written: from here on the server may have the message. A driver that writes the
    /// message in pieces says so before the last one; the step after `SendMessage` implies it.
    pub fn dot_begun(&mut self) {
        if matches!(self.stage, Stage::Message { .. }) {
            self.dot_sent = true;
            self.stage = Stage::Dot;
        }
    }

    /// Whether all fates are settled. When this comes true while something is written, the rest must not be sent, least
    /// of all the dot: the server has answered before it was asked.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// How many whole replies have come: when it grows, the wait of `timeout` begins anew.
    pub fn replies(&self) -> u64 {
        self.replies
    }

    /// The name that the server calls itself in its greeting; known from `MAIL` to the end of the transaction.
    pub fn server_name(&self) -> Option<&str> {
        match self.stage {
            Stage::Greeting | Stage::Ehlo | Stage::Helo | Stage::Over => None,
            _ => self.server.as_deref(),
        }
    }

    /// The next action.
    pub fn step(&mut self) -> Step {
        if !self.out.is_empty() {
            return Step::Write(std::mem::take(&mut self.out));
        }
        match &mut self.stage {
            Stage::Message { told } if !*told => {
                *told = true;
                Step::SendMessage
            }
            Stage::Over => Step::Done(self.outcome()),
            _ => {
                self.dot_begun();
                Step::Read
            }
        }
    }

    /// How long to wait for the reply that is due, or in the message for a block to be taken (RFC 5321 section
    /// 4.5.3.2).
    pub fn timeout(&self) -> Duration {
        let minutes = match self.stage {
            Stage::Dot | Stage::LoneDot => 10,
            Stage::Message { .. } => 3,
            Stage::Envelope if self.unanswered.front() == Some(&Verb::Data) => 2,
            _ => 5,
        };
        Duration::from_secs(60 * minutes)
    }

    fn take(&mut self, reply: Reply) {
        self.replies += 1;
        if reply.code == 421 {
            let fate = self.verdict(reply);
            return self.end(fate);
        }
        match self.stage {
            Stage::Greeting => self.greeted(reply),
            Stage::Ehlo | Stage::Helo => self.helloed(reply),
            Stage::Envelope => self.envelope_answered(reply),
            Stage::Message { .. } => {
                let fate = self.verdict(reply);
                self.end(fate);
            }
            Stage::Dot => {
                let fate = match reply.code {
                    200..300 => Fate::Accepted(reply),
                    _ => self.verdict(reply),
                };
                self.quit(fate);
            }
            Stage::LoneDot => self.quit(Fate::Deferred("no recipient was accepted".into())),
            Stage::Over => {}
        }
    }

    /// The server is ready; what it cannot take is refused here, in its name.
    fn begin(&mut self) {
        if let Some(refusal) = fitness::refusal(&self.request, &self.offers) {
            return self.quit(Fate::Refused(refusal));
        }
        self.unsent.push_back(Verb::Mail);
        for (n, recipient) in self.request.envelope.recipients.iter().enumerate() {
            if recipient.address.needs_smtputf8() && !self.offers.smtputf8 {
                self.recipients[n] = Progress::Settled(Fate::Refused(fitness::no_smtputf8()));
            } else {
                self.unsent.push_back(Verb::Rcpt(n));
            }
        }
        let refused = self.request.envelope.recipients.len() + 1 - self.unsent.len();
        if self.unsent.len() == 1 || (refused > 0 && self.request.all_or_none) {
            return self.quit(none_of_all());
        }
        self.unsent.push_back(Verb::Data);
        self.stage = Stage::Envelope;
        self.write();
    }

    /// Writes the commands that may go now: all of them with PIPELINING, else one. DATA is not pipelined where one
    /// refused recipient would make it wrong.
    fn write(&mut self) {
        while let Some(verb) = self.unsent.front().copied() {
            let waits = verb == Verb::Data && self.request.all_or_none;
            if !self.unanswered.is_empty() && (waits || !self.offers.pipelining) {
                return;
            }
            if verb == Verb::Data && self.unanswered.is_empty() && !self.worth_sending() {
                return self.quit(none_of_all());
            }
            let line = match verb {
                Verb::Mail => {
                    compose::mail(&self.request, &self.offers, fitness::smtputf8(&self.request, &self.offers))
                }
                Verb::Rcpt(n) => compose::rcpt(&self.request.envelope.recipients[n], &self.offers),
                Verb::Data => "DATA\r\n".to_owned(),
            };
            self.out.extend_from_slice(line.as_bytes());
            self.unsent.pop_front();
            self.unanswered.push_back(verb);
        }
    }

    fn worth_sending(&self) -> bool {
        let mut taken = self.recipients.iter().map(|progress| matches!(progress, Progress::Taken));
        if self.request.all_or_none { taken.all(|taken| taken) } else { taken.any(|taken| taken) }
    }

    fn envelope_answered(&mut self, reply: Reply) {
        match self.unanswered.front().copied() {
            Some(Verb::Mail) => self.mail_answered(reply),
            Some(Verb::Rcpt(n)) => self.rcpt_answered(n, reply),
            Some(Verb::Data) => return self.data_answered(reply),
            None => {
                let fate = self.verdict(reply);
                return self.end(fate);
            }
        }
        self.unanswered.pop_front();
        self.write();
        if self.stage == Stage::Envelope && self.unsent.is_empty() && self.unanswered.is_empty() {
            self.quit(none_of_all());
        }
    }

    fn mail_answered(&mut self, reply: Reply) {
        if !(200..300).contains(&reply.code) {
            let fate = self.verdict(reply);
            self.settle(fate);
            self.unsent.clear();
        }
    }

    fn rcpt_answered(&mut self, n: usize, reply: Reply) {
        let fate = match reply.code {
            200..300 => None,
            // RFC 5321 section 4.5.3.1.10: an old way to say "too many at once".
            552 => Some(Fate::Deferred(self.quoted(&reply))),
            _ => Some(self.verdict(reply)),
        };
        if let Some(progress @ Progress::Open) = self.recipients.get_mut(n) {
            *progress = fate.map_or(Progress::Taken, Progress::Settled);
        }
    }

    fn data_answered(&mut self, reply: Reply) {
        match (reply.code, self.worth_sending()) {
            (354, true) => {
                self.unanswered.pop_front();
                self.stage = Stage::Message { told: false };
            }
            (354, false) => {
                self.unanswered.pop_front();
                self.out.extend_from_slice(b".\r\n");
                self.stage = Stage::LoneDot;
            }
            _ => {
                let fate = self.verdict(reply);
                self.quit(fate);
            }
        }
    }

    /// Gives `fate` to all recipients that have none yet.
    fn settle(&mut self, fate: Fate) {
        for progress in &mut self.recipients {
            if !matches!(progress, Progress::Settled(_)) {
                *progress = Progress::Settled(fate.clone());
            }
        }
    }

    /// Ends in good manners.
    fn quit(&mut self, fate: Fate) {
        self.end(fate);
        self.out.extend_from_slice(b"QUIT\r\n");
    }

    /// Ends with nothing more to say. Fates that are settled stay.
    fn end(&mut self, fate: Fate) {
        self.settle(fate);
        self.out.clear();
        self.stage = Stage::Over;
    }

    fn outcome(&self) -> Outcome {
        let fate = |progress: &Progress| match progress {
            Progress::Settled(fate) => fate.clone(),
            Progress::Open | Progress::Taken => Fate::Deferred("the session ended early".into()),
        };
        Outcome { fates: self.recipients.iter().map(fate).collect(), dot_sent: self.dot_sent }
    }
}

fn none_of_all() -> Fate {
    Fate::Deferred("not sent, because other recipients of the same letter were not accepted".into())
}

#[cfg(test)]
mod tests;
