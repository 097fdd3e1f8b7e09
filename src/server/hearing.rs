//! Waiting for the client, and what of its conduct ends or delays a connection: silence, slowness, haste, too much of anything.

use super::budget::{Place, Waiting};
use super::limits::pace::{Late, Pace};
use super::limits::rates::Kind;
use super::limits::tarpit::Tarpit;
use super::limits::watch::Client;
use super::replies;
use crate::config::Limits;
use crate::net::tls::TlsError;
use crate::smtp::reply::Reply;
use crate::smtp::server::{Counts, Session};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;
use tokio::time::Instant;

/// What an unknown client waits for the greeting. Whoever has many to visit does not wait, and speaks first.
const GREETING: Duration = Duration::from_millis(100);

/// When the server is told to stop, what is being found out for a client may take so long.
const STOPPING: Duration = Duration::from_secs(5);

/// How long, and for how many octets, a client is listened to after the last word. Enough for what it had on its way.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_OCTETS: usize = 1 << 20;

/// Why nobody waits for a handshake any longer.
const CALLED_OFF: &str = "others waited for this place";

/// One client's time and conduct.
pub struct Hearing {
    place: Place,
    client: Client,
    /// It brought a letter lately, or is the owner.
    known: bool,
    tarpit: Tarpit,
    pace: Pace,
    /// What was counted of the session already.
    counted: Counts,
    /// It was made private: its time for the next octets begins anew.
    secured: bool,
    /// Until when the next octets that matter must come.
    due: Instant,
    buffer: Vec<u8>,
}

/// What came of waiting for the client.
pub enum Input {
    /// Octets, in `heard`.
    Bytes,
    /// Nothing that may go on: this is to be said.
    End(Reply),
    /// The client is not there any more.
    Gone,
}

impl Hearing {
    /// Of a client that has just come.
    pub fn new(place: Place, client: Client, limits: &Limits) -> Hearing {
        let now = Instant::now();
        let patience = Duration::from_secs(limits.command_timeout);
        Hearing {
            known: client.is_known(),
            pace: Pace::new(patience, limits.message_size, now),
            place,
            client,
            tarpit: Tarpit::default(),
            counted: Counts::default(),
            secured: false,
            due: now,
            buffer: Vec::new(),
        }
    }

    /// Waits a moment for a client that speaks before it is greeted (RFC 5321 section 3.1 tells it to wait); none: it did
    /// not, and may be greeted.
    pub async fn before_greeting<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<Input> {
        if self.known {
            return None;
        }
        self.due = Instant::now() + GREETING;
        match self.receive(stream, (Waiting::Idle, Instant::now()), false, stop).await {
            Heard::Bytes => {
                self.client.charge(Kind::Errors, 1);
                Some(Input::End(replies::spoke_first()))
            }
            Heard::Nothing => None,
            Heard::Stop => Some(Input::End(replies::shutting_down())),
            Heard::CalledOff => Some(Input::End(replies::called_off())),
            Heard::Gone => Some(Input::Gone),
        }
    }

    /// Waits for the client's next octets. `answered`: it was told something since. A message in flight is finished when the
    /// server is told to stop.
    pub async fn listen<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        session: &Session,
        answered: bool,
        stop: &mut watch::Receiver<bool>,
    ) -> Input {
        if let Err(reply) = self.count(session.counts()) {
            return Input::End(reply);
        }
        let now = Instant::now();
        let abreast = self.pace.abreast(now);
        let (end, late) = self.pace.end();
        // Octets that end no command do not move it: a line that drips for ever ends.
        if answered || abreast.is_some() || std::mem::take(&mut self.secured) {
            self.due = now + session.timeout();
        }
        self.due = self.due.min(end);
        // Within a transaction only what brings it forward counts: a word now and then must not hold a place for ever.
        let within = abreast.or_else(|| self.pace.begun().filter(|_| session.in_transaction()));
        let waiting = within.map_or((Waiting::Idle, now), |since| (Waiting::Within, since));
        match self.receive(stream, waiting, abreast.is_some(), stop).await {
            Heard::Bytes => {
                self.pace.octets(self.buffer.len());
                self.client.charge(Kind::Octets, self.buffer.len() as u64);
                Input::Bytes
            }
            Heard::Nothing if Instant::now() < end => Input::End(replies::timed_out()),
            Heard::Nothing => Input::End(match late {
                Late::Message(octets) => replies::message_too_slow(octets),
                Late::Session => replies::no_letter_for_long(),
            }),
            Heard::Stop => Input::End(replies::shutting_down()),
            Heard::CalledOff => Input::End(replies::called_off()),
            Heard::Gone => Input::Gone,
        }
    }

    /// What was heard last.
    pub fn heard(&self) -> &[u8] {
        &self.buffer
    }

    /// Whether another message may begin.
    pub fn may_begin(&mut self) -> Result<(), Reply> {
        let within = self.client.within(Kind::Octets).and_then(|()| self.client.may(Kind::Messages));
        within
            .map_err(|over| replies::over_rate(450, &over))
            .inspect_err(|reply| self.tell("put off", reply))?;
        self.pace.begins(Instant::now());
        Ok(())
    }

    /// Whether another recipient may be named.
    pub fn may_name(&self) -> Result<(), Reply> {
        let within = self.client.may(Kind::Recipients);
        within.map_err(|over| replies::over_rate(450, &over)).inspect_err(|reply| self.tell("put off", reply))
    }

    /// Notes the answer to a recipient; how long it is to be held back.
    pub fn recipient(&mut self, reply: &Reply) -> Duration {
        if reply.is_positive() {
            self.tarpit.accepted();
        }
        if !reply.is_permanent() || !self.client.is_stranger() {
            return Duration::ZERO;
        }
        self.client.charge(Kind::Refused, 1);
        let delay = self.tarpit.refused(self.client.within(Kind::Refused).is_err());
        if !delay.is_zero() {
            self.tell("answered later and later", reply);
        }
        delay
    }

    /// Holds an answer back; it costs a timer, and the place where somebody new needs one: then this is said instead.
    pub async fn hold(&mut self, delay: Duration, stop: &mut watch::Receiver<bool>) -> Option<Reply> {
        self.place.waits(Waiting::Idle, self.known, std::time::Instant::now());
        let ended = tokio::select! {
            () = tokio::time::sleep(delay) => None,
            () = self.place.called_off() => Some(replies::called_off()),
            _ = stop.wait_for(|stop| *stop) => Some(replies::shutting_down()),
        };
        match self.place.works() {
            true => ended,
            false => Some(replies::called_off()),
        }
    }

    /// Does what may take long by the fault of others: DNS, or a client that does not take its replies. A stranger whose
    /// place somebody new needs does not wait for it to the end, and neither does a server that stops: then this is to be said instead.
    /// Nothing that stores a letter may be done so.
    pub async fn meanwhile<T>(
        &mut self,
        work: impl Future<Output = T>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<T, Reply> {
        if !self.client.is_stranger() {
            return Ok(work.await);
        }
        self.place.waits(Waiting::Outcome, self.known, std::time::Instant::now());
        let stopping = async {
            let _ = stop.wait_for(|stop| *stop).await;
            tokio::time::sleep(STOPPING).await;
        };
        let outcome = tokio::select! {
            biased;
            outcome = work => Ok(outcome),
            () = self.place.called_off() => Err(replies::takes_too_long()),
            () = stopping => Err(replies::shutting_down()),
        };
        match self.place.works() {
            true => outcome,
            false => Err(replies::takes_too_long()),
        }
    }

    /// Waits for a handshake, as for a client that says nothing; none: it did not come about, which only the log hears of.
    pub async fn handshake<T>(
        &mut self,
        work: impl Future<Output = Result<T, TlsError>>,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<T> {
        self.place.waits(Waiting::Idle, self.known, std::time::Instant::now());
        let outcome = tokio::select! {
            biased;
            outcome = work => outcome.map_err(|error| error.0),
            () = self.place.called_off() => Err(CALLED_OFF.to_owned()),
            _ = stop.wait_for(|stop| *stop) => Err("the server stops".to_owned()),
        };
        let outcome = if self.place.works() { outcome } else { Err(CALLED_OFF.to_owned()) };
        self.secured = outcome.is_ok();
        outcome.inspect_err(|reason| self.not_secured(reason)).ok()
    }

    fn not_secured(&self, reason: &str) {
        if self.client.may_tell(&format!("TLS: {reason}")) {
            tracing::info!(peer = self.client.shown(), reason, "no TLS with a client");
        }
    }

    /// A message begins.
    pub fn message_begins(&mut self) {
        self.pace.message_begins(Instant::now());
    }

    /// It is over; `accepted`: as a letter.
    pub fn message_ends(&mut self, accepted: bool) {
        let now = Instant::now();
        self.pace.message_ends(now);
        if accepted {
            self.pace.letter(now);
            self.client.brought();
            self.known = true;
        }
    }

    /// The last word is said. What the client still sends is read and dropped for a moment: octets that nobody reads make the
    /// system answer with a reset, which may take that word away. Whoever has lost his place, or is there when the server stops, has no moment.
    pub async fn linger<S: AsyncRead + Unpin>(&mut self, stream: &mut S, stop: &mut watch::Receiver<bool>) {
        if !self.place.works() {
            return;
        }
        self.buffer = vec![0; 1 << 10];
        self.place.waits(Waiting::Idle, self.known, std::time::Instant::now());
        let drain = async {
            let mut left = LINGER_OCTETS;
            while let Ok(read @ 1..) = stream.read(&mut self.buffer).await {
                left = left.saturating_sub(read);
                if left == 0 {
                    break;
                }
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(LINGER, drain) => {}
            () = self.place.called_off() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// What is said to the client cannot be written: it is gone, or does not take it.
    pub fn deaf(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::TimedOut && self.client.may_tell("deaf") {
            tracing::info!(peer = self.client.shown(), "ended: it does not take the replies");
        }
    }

    /// The session is over, and this was the last word.
    pub fn ended(&self, farewell: Option<&Reply>) {
        let Some(reply) = farewell.filter(|reply| !reply.is_positive()) else { return };
        if reply.is_permanent() {
            self.client.charge(Kind::Errors, 1);
        }
        self.tell("ended", reply);
    }

    fn tell(&self, what: &'static str, reply: &Reply) {
        // What stands behind a colon differs from one to the next.
        let kind = reply.text.split(':').next().unwrap_or_default();
        if self.client.may_tell(&format!("{what}: {kind}")) {
            tracing::info!(peer = self.client.shown(), code = reply.code, reason = reply.text, "{what}");
        }
    }

    /// Counts what the session has seen since the last time.
    fn count(&mut self, counts: Counts) -> Result<(), Reply> {
        let before = std::mem::replace(&mut self.counted, counts);
        let errors = counts.errors.saturating_sub(before.errors);
        for (kind, count) in [(Kind::Commands, counts.commands - before.commands), (Kind::Errors, errors)] {
            if count > 0 {
                let within = self.client.within(kind);
                self.client.charge(kind, count.into());
                within.map_err(|over| replies::over_rate(421, &over))?;
            }
        }
        Ok(())
    }

    /// Reads into `buffer` until `due`. With what it waits for goes since when it has made no progress.
    async fn receive<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        (waiting, since): (Waiting, Instant),
        in_message: bool,
        stop: &mut watch::Receiver<bool>,
    ) -> Heard {
        // Small for commands, large once a message flows: an idle connection costs 1 KiB.
        let size = if in_message { 64 << 10 } else { 1 << 10 };
        if self.buffer.capacity() > size {
            self.buffer = Vec::new();
        }
        self.buffer.clear();
        self.buffer.reserve_exact(size);
        self.place.waits(waiting, self.known, since.into_std());
        let heard = tokio::select! {
            biased;
            read = tokio::time::timeout_at(self.due, stream.read_buf(&mut self.buffer)) => match read {
                Ok(Ok(1..)) => Heard::Bytes,
                Ok(_) => Heard::Gone,
                Err(_) => Heard::Nothing,
            },
            () = self.place.called_off() => Heard::CalledOff,
            _ = stop.wait_for(|stop| *stop), if !in_message => Heard::Stop,
        };
        match (self.place.works(), heard) {
            (_, Heard::Gone) => Heard::Gone,
            (false, _) => Heard::CalledOff,
            (true, heard) => heard,
        }
    }
}

enum Heard {
    Bytes,
    Nothing,
    CalledOff,
    Stop,
    Gone,
}
