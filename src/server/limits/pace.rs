//! How slow a client may be in all. RFC 5321 section 4.5.3.2 says how long each step may take, and that is granted; but whoever takes
//! nearly that for every octet would stay for years. Pure; time is an argument.

use std::time::Duration;
use tokio::time::Instant;

/// The speed that is taken for granted, in octets a second: below it a message is late.
const SPEED: u64 = 1024;
/// A message may be late by this many of `limits.command_timeout`: ten minutes by default.
const MESSAGE: u32 = 2;
/// A session may go on without a letter that is accepted for this many of them: half an hour by default. The four
/// commands of a transaction may take five minutes each.
const SESSION: u32 = 6;

/// What was not fast enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// The octets of a message: so many came.
    Message(u64),
    /// A letter: none was accepted.
    Session,
}

/// The clock of one session.
#[derive(Debug)]
pub struct Pace {
    patience: Duration,
    /// The most octets that buy time: what a message may have.
    message_size: u64,
    /// Since when there was no letter; the time that messages took is left out.
    since: Instant,
    /// When the first transaction since then began.
    begun: Option<Instant>,
    message: Option<Message>,
}

#[derive(Debug)]
struct Message {
    begun: Instant,
    octets: u64,
}

impl Pace {
    /// For a session that begins now.
    pub fn new(patience: Duration, message_size: u64, now: Instant) -> Pace {
        Pace { patience, message_size, since: now, begun: None, message: None }
    }

    /// A transaction begins.
    pub fn begins(&mut self, now: Instant) {
        self.begun.get_or_insert(now);
    }

    /// When the first transaction since the last letter began. Whoever begins one after the other, and brings no letter, is no
    /// farther than he was.
    pub fn begun(&self) -> Option<Instant> {
        self.begun
    }

    /// A message may come now.
    pub fn message_begins(&mut self, now: Instant) {
        self.message = Some(Message { begun: now, octets: 0 });
    }

    /// Octets came.
    pub fn octets(&mut self, count: usize) {
        if let Some(message) = &mut self.message {
            message.octets = message.octets.saturating_add(count as u64);
        }
    }

    /// The message is over, one way or another.
    pub fn message_ends(&mut self, now: Instant) {
        if let Some(message) = self.message.take() {
            self.since += now.saturating_duration_since(message.begun);
        }
    }

    /// A letter was accepted.
    pub fn letter(&mut self, now: Instant) {
        self.since = now;
        self.begun = None;
    }

    /// Until when the client must have got on.
    pub fn end(&self) -> (Instant, Late) {
        match &self.message {
            Some(message) => (self.earned(message) + self.patience * MESSAGE, Late::Message(message.octets)),
            None => (self.since + self.patience * SESSION, Late::Session),
        }
    }

    /// Where a message is: the time at which its octets would have been here at the speed that is taken for granted,
    /// `now` at the latest.
    pub fn abreast(&self, now: Instant) -> Option<Instant> {
        self.message.as_ref().map(|message| self.earned(message).min(now))
    }

    fn earned(&self, message: &Message) -> Instant {
        // An endless message, of which nothing is kept beyond its bound, earns nothing beyond it either.
        message.begun + Duration::from_secs(message.octets.min(self.message_size) / SPEED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_letter_makes_a_transaction_a_new_one() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(Duration::from_secs(300), 50 << 20, start);
        assert_eq!(pace.begun(), None);
        pace.begins(at(1));
        pace.begins(at(20));
        assert_eq!(pace.begun(), Some(at(1)));
        pace.letter(at(30));
        pace.begins(at(40));
        assert_eq!(pace.begun(), Some(at(40)));
    }

    #[test]
    fn one_octet_at_a_time_ends_and_a_slow_line_does_not() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(Duration::from_secs(300), 50 << 20, start);
        pace.message_begins(start);
        pace.octets(3);
        assert_eq!(pace.end(), (at(600), Late::Message(3)));
        pace.octets(600 << 10);
        assert_eq!(pace.end().0, at(1200));
        assert_eq!((pace.abreast(at(700)), pace.abreast(at(10))), (Some(at(600)), Some(at(10))));
        // 50 MiB take less than a day.
        pace.octets(usize::MAX);
        assert_eq!(pace.end().0, at(600 + (50 << 10)));
    }

    #[test]
    fn a_session_without_a_letter_ends_and_the_time_of_a_message_is_not_counted() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(Duration::from_secs(300), 50 << 20, start);
        assert_eq!(pace.end(), (at(1800), Late::Session));
        pace.message_begins(at(100));
        pace.message_ends(at(500));
        assert_eq!(pace.end().0, at(2200));
        pace.letter(at(600));
        assert_eq!(pace.end().0, at(2400));
    }
}
