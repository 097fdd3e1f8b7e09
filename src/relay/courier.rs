//! A connection to one of a destination's servers, which carries letters one after another.

mod approach;
mod login;
mod text;
mod words;

use super::Parts;
use super::plan::Plan;
use super::verdict::Verdict;
use crate::mail::address::Host;
use crate::mail::dsn::Diagnosis;
use crate::net::session::Session;
use crate::queue::EntryId;
use crate::smtp::client::{Fate, Outcome, Request};
use approach::{Approach, Closed};
use std::net::IpAddr;
use text::Text;

#[cfg(test)]
mod tests;

/// How many addresses of a destination are tried for one letter.
const ADDRESSES: usize = 6;
/// How many hosts speak in a sentence about why nobody took a letter.
const REASONS: usize = 3;

/// An open connection.
pub(super) struct Courier {
    session: Session,
    host: Host,
    ip: IpAddr,
    /// What protects it, in words.
    tls: String,
    /// Whether this is the owner's own relay.
    via: bool,
}

/// What came of carrying one letter.
pub(super) struct Trip {
    /// One verdict per recipient of the request.
    pub(super) verdicts: Vec<Verdict>,
    /// No server of the destination could be spoken to: there is no use in trying the next letter now.
    pub(super) unreachable: Option<String>,
    /// The connection, if it can carry another letter.
    pub(super) courier: Option<Courier>,
}

impl Courier {
    /// Ends the connection in good manners.
    pub(super) async fn dismiss(self) {
        self.session.quit().await;
    }

    async fn send(&mut self, request: Request, text: Text) -> Outcome {
        let outcome = match text {
            Text::Whole(text) => self.session.send(request, text.as_slice()).await,
            Text::File(file) => self.session.send(request, file).await,
        };
        if self.via { words::between_us(outcome, &self.place()) } else { outcome }
    }

    fn place(&self) -> String {
        words::place(&self.host, self.ip)
    }
}

/// Carries one letter to the destination: by the courier that is there, else by a new one, to one host after another
/// until one decides. None: the server stops, and nobody was asked.
pub(super) async fn carry(
    parts: &Parts,
    plan: &Plan,
    letter: &EntryId,
    request: Request,
    courier: Option<Courier>,
) -> Option<Trip> {
    let mut errand =
        Errand { parts, letter, request, left: ADDRESSES, halted: false, found: Findings::default() };
    let mut asked = None;
    if let Some(courier) = courier {
        asked = Some(courier.ip);
        match errand.visit(courier).await {
            Visit::Over(trip) => return Some(*trip),
            Visit::PutOff => {}
            // A connection that died while nobody used it says nothing about its server.
            Visit::Lost(_) => asked = None,
        }
    }
    for host in plan.hosts() {
        if let Some(trip) = errand.try_host(plan, host, asked).await {
            return Some(trip);
        }
        if errand.halted {
            break;
        }
    }
    let asked = !errand.halted || errand.found.put_off.is_some();
    asked.then(|| errand.give_in())
}

/// One letter on its way.
struct Errand<'a> {
    parts: &'a Parts,
    letter: &'a EntryId,
    request: Request,
    /// Addresses that may still be tried.
    left: usize,
    /// Whether it turned back because the server stops.
    halted: bool,
    found: Findings,
}

/// What was found on the way, until somebody decides.
#[derive(Default)]
struct Findings {
    /// Who could not be spoken to, and why.
    closed: Vec<String>,
    /// The first who refuses us for good.
    refused: Option<Diagnosis>,
    /// Whether anybody might be different another time.
    hope: bool,
    /// The last who answered, and put this letter off.
    put_off: Option<Diagnosis>,
    /// A connection to him, which may do for the next letter.
    courier: Option<Courier>,
}

/// What came of one server.
enum Visit {
    /// It decided about somebody, or may have the letter.
    Over(Box<Trip>),
    /// It put everybody off before the letter was sent: another server may take it (RFC 5321 section 5.1).
    PutOff,
    /// The same, and the connection is gone.
    Lost(Diagnosis),
}

impl Errand<'_> {
    async fn try_host(&mut self, plan: &Plan, host: &Host, asked: Option<IpAddr>) -> Option<Trip> {
        if self.left == 0 {
            self.found.hope = true;
            return None;
        }
        let approach = match self.unless_halted(Approach::find(self.parts, plan, host)).await? {
            Ok(approach) => approach,
            Err(why) => {
                self.found.close(why);
                return None;
            }
        };
        for &ip in approach.addresses().iter().filter(|&&ip| Some(ip) != asked) {
            if self.left == 0 {
                self.found.hope = true;
                break;
            }
            self.left -= 1;
            match self.unless_halted(approach.open(ip)).await? {
                Ok(courier) => match self.visit(courier).await {
                    Visit::Over(trip) => return Some(*trip),
                    Visit::PutOff => {}
                    Visit::Lost(diagnosis) => self.found.put_off = Some(diagnosis),
                },
                Err(Closed::Refused(diagnosis)) => {
                    self.found.refused.get_or_insert(diagnosis);
                }
                Err(Closed::Later(why)) => self.found.close(why),
            }
        }
        None
    }

    /// What comes before a transaction: nothing is lost with it.
    async fn unless_halted<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.parts.halt.called() => {
                self.halted = true;
                None
            }
            done = work => Some(done),
        }
    }

    /// One transaction with one server.
    async fn visit(&mut self, mut courier: Courier) -> Visit {
        let text = match text::open(self.parts, self.letter, self.request.size).await {
            Ok(text) => text,
            Err(error) => return self.fault(courier, &error),
        };
        let outcome = courier.send(self.request.clone(), text).await;
        let put_off = match outcome.fates.first() {
            Some(Fate::Deferred(why)) if nothing_came_of(&outcome) => why.clone(),
            _ => {
                let verdicts = words::verdicts(outcome, &courier);
                let courier = courier.session.is_open().then_some(courier);
                return Visit::Over(Box::new(Trip { verdicts, unreachable: None, courier }));
            }
        };
        let diagnosis = words::deferred(put_off, Some(&courier.host));
        if !courier.session.is_open() {
            return Visit::Lost(diagnosis);
        }
        self.found.put_off = Some(diagnosis);
        if let Some(other) = self.found.courier.replace(courier) {
            other.dismiss().await;
        }
        Visit::PutOff
    }

    /// Our own fault: no other server could make it good.
    fn fault(&self, courier: Courier, error: &std::io::Error) -> Visit {
        tracing::error!(id = %self.letter, %error, "a queued message cannot be read; tried again");
        let verdict = Verdict::later(format!("the queued message cannot be read: {error}"), None);
        let verdicts = vec![verdict; self.request.envelope.recipients.len()];
        Visit::Over(Box::new(Trip { verdicts, unreachable: None, courier: Some(courier) }))
    }

    /// Nobody decided. One that answers and puts this letter off (greylisting, a full mailbox) may well take the next
    /// one; and only if all of them refused us for good is that the end of the letter (RFC 5321 section 3.1).
    fn give_in(self) -> Trip {
        let Findings { closed, refused, hope, put_off, courier } = self.found;
        let (verdict, unreachable) = match (put_off, refused) {
            (Some(diagnosis), _) => (Verdict::Deferred(diagnosis), None),
            (None, Some(diagnosis)) if !hope => (Verdict::Failed(diagnosis), None),
            (None, refused) => {
                let refusals = refused.map(|diagnosis| diagnosis.line());
                let why: Vec<String> = closed.into_iter().chain(refusals).take(REASONS).collect();
                let why = if why.is_empty() { "no server was found".into() } else { why.join("; ") };
                (Verdict::Deferred(words::deferred(why.clone(), None)), Some(why))
            }
        };
        let verdicts = vec![verdict; self.request.envelope.recipients.len()];
        Trip { verdicts, unreachable, courier }
    }
}

impl Findings {
    fn close(&mut self, why: String) {
        self.hope = true;
        if !self.closed.contains(&why) {
            self.closed.push(why);
        }
    }
}

fn nothing_came_of(outcome: &Outcome) -> bool {
    !outcome.dot_sent && outcome.fates.iter().all(|fate| matches!(fate, Fate::Deferred(_)))
}
