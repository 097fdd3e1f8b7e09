//! One transaction: from MAIL to the reply to the dot.

use super::{Fate, Outcome, Peer, Request, compose, fitness};
use crate::smtp::reply::Reply;
use std::collections::VecDeque;

#[derive(Clone)]
pub(super) struct Transaction {
    request: Request,
    stage: Stage,
    /// Commands still to be written.
    unsent: VecDeque<Verb>,
    /// Commands written and not answered.
    unanswered: VecDeque<Verb>,
    recipients: Vec<Progress>,
    /// The server said what makes no sense: it will not be asked again.
    odd: bool,
    begun: bool,
    dot_sent: bool,
    /// All of it left us; before that nobody can have taken it.
    dot_written: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Envelope,
    /// 354 came; whether the driver was told.
    Message {
        told: bool,
    },
    Dot,
    /// 354 came though no recipient was accepted; the dot alone ends that.
    LoneDot,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Rset,
    Mail,
    Rcpt(usize),
    Data,
}

#[derive(Clone)]
enum Progress {
    Open,
    /// RCPT was answered with 2xx; what counts is the reply to the dot.
    Taken,
    Settled(Fate),
}

/// Whether a reply ended the transaction, and what is left of the session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    NotYet,
    /// Another transaction may follow.
    Sane,
    /// None may; the server is told so.
    Quit,
    /// Likewise, and there is nothing more to say.
    HangUp,
}

impl Transaction {
    pub(super) fn new(request: Request) -> Transaction {
        let recipients = vec![Progress::Open; request.envelope.recipients.len()];
        Transaction {
            request,
            stage: Stage::Envelope,
            unsent: VecDeque::new(),
            unanswered: VecDeque::new(),
            recipients,
            odd: false,
            begun: false,
            dot_sent: false,
            dot_written: false,
        }
    }

    /// Writes the first commands, or ends: what the server cannot take is refused here, in its name.
    pub(super) fn begin(&mut self, peer: &Peer, reset: bool, out: &mut Vec<u8>) -> Ending {
        // A transaction that is not begun leaves what was left open before it.
        self.begun = reset;
        if let Some(refusal) = fitness::refusal(&self.request, &peer.offers) {
            return self.finish(Fate::Refused(refusal));
        }
        let mut refused = false;
        for (n, recipient) in self.request.envelope.recipients.iter().enumerate() {
            if recipient.address.needs_smtputf8() && !peer.offers.smtputf8 {
                self.recipients[n] = Progress::Settled(Fate::Refused(fitness::no_smtputf8()));
                refused = true;
            } else {
                self.unsent.push_back(Verb::Rcpt(n));
            }
        }
        if self.unsent.is_empty() || (refused && self.request.all_or_none) {
            self.unsent.clear();
            return self.finish(none_of_all());
        }
        self.unsent.push_front(Verb::Mail);
        if reset {
            self.unsent.push_front(Verb::Rset);
        }
        self.unsent.push_back(Verb::Data);
        self.begun = true;
        self.write(peer, out)
    }

    pub(super) fn take(&mut self, reply: Reply, peer: &Peer, out: &mut Vec<u8>) -> Ending {
        if reply.code == 421 {
            let fate = peer.verdict(&self.answered(), reply);
            return self.give_up(fate, Ending::HangUp);
        }
        match self.stage {
            Stage::Envelope => self.envelope_answered(reply, peer, out),
            Stage::Message { .. } => self.answered_early(reply, peer),
            Stage::Dot if !self.dot_written => self.answered_early(reply, peer),
            Stage::Dot => {
                self.odd |= (300..400).contains(&reply.code);
                let fate = match reply.code {
                    200..300 => Fate::Accepted(reply),
                    _ => peer.verdict(&self.answered(), reply),
                };
                self.begun = false;
                self.finish(fate)
            }
            Stage::LoneDot => self.give_up(Fate::Deferred("no recipient was accepted".into()), Ending::Quit),
        }
    }

    /// Whether the driver is now told to send the message: once.
    pub(super) fn tell_message(&mut self) -> bool {
        match &mut self.stage {
            Stage::Message { told } => !std::mem::replace(told, true),
            _ => false,
        }
    }

    pub(super) fn dot_begun(&mut self) {
        if matches!(self.stage, Stage::Message { .. }) {
            self.dot_sent = true;
            self.stage = Stage::Dot;
        }
    }

    pub(super) fn dot_written(&mut self) {
        self.dot_written |= self.stage == Stage::Dot;
    }

    pub(super) fn is_sending(&self) -> bool {
        matches!(self.stage, Stage::Message { .. } | Stage::Dot)
    }

    pub(super) fn dot_is_out(&self) -> bool {
        self.stage == Stage::Dot
    }

    /// Whether the server still holds an envelope.
    pub(super) fn is_unfinished(&self) -> bool {
        self.begun
    }

    /// Gives `fate` to all recipients that have none yet.
    pub(super) fn settle(&mut self, fate: Fate) {
        for progress in &mut self.recipients {
            if !matches!(progress, Progress::Settled(_)) {
                *progress = Progress::Settled(fate.clone());
            }
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        let fate = |progress: &Progress| match progress {
            Progress::Settled(fate) => fate.clone(),
            Progress::Open | Progress::Taken => Fate::Deferred("the session ended early".into()),
        };
        Outcome { fates: self.recipients.iter().map(fate).collect(), dot_sent: self.dot_sent }
    }

    /// The wait for the reply that is due, or for a block of the message to be taken.
    pub(super) fn minutes(&self) -> u64 {
        match self.stage {
            Stage::Dot | Stage::LoneDot => 10,
            Stage::Message { .. } => 3,
            Stage::Envelope if self.unanswered.front() == Some(&Verb::Data) => 2,
            Stage::Envelope => 5,
        }
    }

    /// What is going on, behind the reason why it ended.
    pub(super) fn doing(&self) -> String {
        match self.stage {
            Stage::Message { .. } => "while the message was being sent".to_owned(),
            _ => format!("while waiting for the reply to {}", self.awaited()),
        }
    }

    fn answered(&self) -> String {
        match self.stage {
            Stage::Message { .. } => EARLY.to_owned(),
            Stage::Dot if !self.dot_written => EARLY.to_owned(),
            _ => format!("answered {}", self.awaited()),
        }
    }

    /// It may refuse before it has seen all; it cannot accept.
    fn answered_early(&mut self, reply: Reply, peer: &Peer) -> Ending {
        let fate = peer.verdict(EARLY, reply);
        self.give_up(fate, Ending::HangUp)
    }

    fn awaited(&self) -> &'static str {
        match (self.stage, self.unanswered.front()) {
            (Stage::Envelope, Some(Verb::Rset)) => "RSET",
            (Stage::Envelope, Some(Verb::Mail)) => "MAIL FROM",
            (Stage::Envelope, Some(Verb::Rcpt(_))) => "RCPT TO",
            (Stage::Envelope, Some(Verb::Data)) => "DATA",
            (Stage::Envelope, None) => "nothing",
            (Stage::Message { .. } | Stage::Dot | Stage::LoneDot, _) => "the final dot",
        }
    }

    /// Writes the commands that may go now: all of them with PIPELINING, else one. DATA is not pipelined where one
    /// refused recipient would make it wrong.
    fn write(&mut self, peer: &Peer, out: &mut Vec<u8>) -> Ending {
        while let Some(verb) = self.unsent.front().copied() {
            let waits = verb == Verb::Data && self.request.all_or_none;
            if !self.unanswered.is_empty() && (waits || !peer.offers.pipelining) {
                return Ending::NotYet;
            }
            if verb == Verb::Data && self.unanswered.is_empty() && !self.worth_sending() {
                return self.finish(none_of_all());
            }
            let line = match verb {
                Verb::Rset => "RSET\r\n".to_owned(),
                Verb::Mail => compose::mail(&self.request, &peer.offers),
                Verb::Rcpt(n) => compose::rcpt(&self.request.envelope.recipients[n], &peer.offers),
                Verb::Data => "DATA\r\n".to_owned(),
            };
            out.extend_from_slice(line.as_bytes());
            self.unsent.pop_front();
            self.unanswered.push_back(verb);
        }
        Ending::NotYet
    }

    fn worth_sending(&self) -> bool {
        let mut taken = self.recipients.iter().map(|progress| matches!(progress, Progress::Taken));
        if self.request.all_or_none { taken.all(|taken| taken) } else { taken.any(|taken| taken) }
    }

    fn envelope_answered(&mut self, reply: Reply, peer: &Peer, out: &mut Vec<u8>) -> Ending {
        match self.unanswered.front().copied() {
            Some(Verb::Rset) if (200..300).contains(&reply.code) => {}
            // That says nothing of this letter.
            Some(Verb::Rset) => {
                let fate = Fate::Deferred(peer.said(&self.answered(), &reply));
                return self.give_up(fate, Ending::HangUp);
            }
            Some(Verb::Mail) => self.mail_answered(reply, peer),
            Some(Verb::Rcpt(n)) => self.rcpt_answered(n, reply, peer),
            Some(Verb::Data) => return self.data_answered(reply, peer, out),
            None => {
                let fate = peer.verdict(&self.answered(), reply);
                return self.give_up(fate, Ending::HangUp);
            }
        }
        self.unanswered.pop_front();
        let ending = self.write(peer, out);
        if ending == Ending::NotYet && self.unsent.is_empty() && self.unanswered.is_empty() {
            return self.finish(none_of_all());
        }
        ending
    }

    fn mail_answered(&mut self, reply: Reply, peer: &Peer) {
        if !(200..300).contains(&reply.code) {
            self.odd |= reply.is_positive();
            let fate = peer.verdict(&self.answered(), reply);
            self.settle(fate);
            self.unsent.clear();
        }
    }

    fn rcpt_answered(&mut self, n: usize, reply: Reply, peer: &Peer) {
        self.odd |= (300..400).contains(&reply.code);
        let what = self.answered();
        let fate = match reply.code {
            200..300 => None,
            // RFC 5321 section 4.5.3.1.10: an old way to say "too many at once".
            552 => Some(Fate::Deferred(peer.said(&what, &reply))),
            _ => Some(peer.verdict(&what, reply)),
        };
        if let Some(progress @ Progress::Open) = self.recipients.get_mut(n) {
            *progress = fate.map_or(Progress::Taken, Progress::Settled);
        }
    }

    fn data_answered(&mut self, reply: Reply, peer: &Peer, out: &mut Vec<u8>) -> Ending {
        match (reply.code, self.worth_sending()) {
            (354, true) => {
                self.unanswered.pop_front();
                self.stage = Stage::Message { told: false };
                Ending::NotYet
            }
            (354, false) => {
                self.unanswered.pop_front();
                out.extend_from_slice(b".\r\n");
                self.stage = Stage::LoneDot;
                Ending::NotYet
            }
            _ => {
                self.odd |= reply.is_positive();
                let fate = peer.verdict(&self.answered(), reply);
                self.finish(fate)
            }
        }
    }

    /// Ends where every command is answered: the session is sane, unless it was odd on the way.
    fn finish(&mut self, fate: Fate) -> Ending {
        let ending = if self.odd { Ending::Quit } else { Ending::Sane };
        self.give_up(fate, ending)
    }

    /// Fates that are settled stay.
    fn give_up(&mut self, fate: Fate, ending: Ending) -> Ending {
        self.settle(fate);
        ending
    }
}

const EARLY: &str = "answered before the message was sent";

fn none_of_all() -> Fate {
    Fate::Deferred("not sent, because other recipients of the same letter were not accepted".into())
}
