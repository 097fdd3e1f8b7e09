//! The desk: knows every entry, and gives work to those who look, ask and carry.
//!
//! It decides nothing itself: `board` says whose turn it is, `ledger` what is due. Nothing here blocks.

mod jobs;
mod ledger;
mod ticket;

use super::board::{Answer, Board, Now, Start};
use super::courier::Courier;
use super::fresh::Fresh;
use super::look::look;
use super::orders::Message;
use super::outlook::{Ages, Outlook};
use super::plan::{self, Found, Plan};
use super::send::{Mission, send};
use super::{Parts, dice, is_ours, isolated, unix_time};
use crate::mail::address::Host;
use crate::mail::dsn::Diagnosis;
use crate::policy::retry;
use crate::queue::{EntryId, Part, Waiting};
use crate::system::threads::blocking;
use jobs::Jobs;
use ledger::Ledger;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use ticket::{Errand, Event};
pub(super) use ticket::{Looked, Ticket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Entries that are looked at at once.
const LOOKS: usize = 4;
/// How long we sleep at most: the clock may be set meanwhile.
const NAP: Duration = Duration::from_secs(60);
/// Events that are taken before new work is given.
const EVENTS: usize = 100;

/// Where a destination's letters go.
#[derive(Clone)]
enum Way {
    Plan(Arc<Plan>),
    Never(Diagnosis),
}

pub(super) struct Desk {
    parts: Parts,
    board: Board<Way, Box<Courier>>,
    ledger: Ledger,
    jobs: Jobs,
    /// Those to be looked at, and whether they have just come.
    to_look: VecDeque<(EntryId, bool)>,
    looking: usize,
    events: mpsc::UnboundedReceiver<Event>,
    to_us: mpsc::UnboundedSender<Event>,
    tasks: JoinSet<()>,
    /// Couriers that end their connections.
    farewells: JoinSet<()>,
    swept: Instant,
    /// Unix seconds, when we last looked.
    clock: i64,
}

impl Now {
    fn read() -> Now {
        Now { unix: unix_time(), instant: Instant::now() }
    }
}

impl Desk {
    pub(super) fn new(parts: Parts) -> Desk {
        let (to_us, events) = mpsc::unbounded_channel();
        Desk {
            parts,
            board: Board::new(),
            ledger: Ledger::default(),
            jobs: Jobs::default(),
            to_look: VecDeque::new(),
            looking: 0,
            events,
            to_us,
            tasks: JoinSet::new(),
            farewells: JoinSet::new(),
            swept: Instant::now(),
            clock: unix_time(),
        }
    }

    /// Where new entries come from.
    pub(super) fn fresh(&self) -> Arc<Fresh> {
        Arc::clone(&self.parts.fresh)
    }

    /// Takes what earlier runs left.
    pub(super) async fn take_backlog(&mut self) {
        let parts = self.parts.clone();
        let (backlog, ours) = blocking(move || {
            let backlog = parts.queue.take_backlog();
            // What the store cannot say now, a look at the entry will.
            let mut ours: HashMap<Arc<Host>, bool> = HashMap::new();
            for part in backlog.iter().flat_map(|waiting| &waiting.parts) {
                let known = ours.entry(Arc::clone(&part.host));
                known.or_insert_with_key(|host| is_ours(&parts, host).unwrap_or(true));
            }
            (backlog, ours)
        })
        .await;
        let now = Now::read();
        for waiting in backlog {
            let to_read = waiting.parts.is_empty();
            let here = |part: &Part| ours.get(&part.host).copied().unwrap_or(true);
            self.take_old(&waiting, to_read || waiting.parts.iter().any(here), now);
        }
    }

    fn take_old(&mut self, waiting: &Waiting, to_look: bool, now: Now) {
        if !self.ledger.enter(waiting.id) {
            return;
        }
        if to_look {
            return self.to_look.push_back((waiting.id, false));
        }
        let ages = Ages { arrived: waiting.arrived, warned: waiting.warned };
        let parts = waiting.parts.iter().map(|part| (&*part.host, part.next_attempt, part.held));
        let outlook = Outlook::plan(ages, parts, &self.parts.config, now.unix);
        self.ledger.settle(waiting.id, &outlook, false, &mut self.board, now);
    }

    /// Takes what was handed over, in its order; it comes before what is old.
    pub(super) fn take_fresh(&mut self) {
        let now = Now::read();
        let mut unknown = Vec::new();
        for (id, entry) in self.parts.fresh.take() {
            if !self.ledger.enter(id) {
                continue;
            }
            let Some(entry) = entry else {
                unknown.push(id);
                continue;
            };
            let outlook = Outlook::of(&entry, &self.parts.config, now.unix);
            self.ledger.warm(entry);
            self.ledger.settle(id, &outlook, true, &mut self.board, now);
        }
        for id in unknown.into_iter().rev() {
            self.to_look.push_front((id, true));
        }
    }

    /// Takes an order, or a question.
    pub(super) fn take_message(&mut self, message: Message) {
        match message {
            Message::Destinations(answer) => {
                // Who asked may be gone.
                let _ = answer.send(self.board.destinations(unix_time()));
            }
            Message::Order(order, selection, answer) => {
                self.take_fresh();
                self.jobs.begin(order, selection, answer, &self.ledger);
            }
        }
    }

    /// Starts what can be started.
    pub(super) fn start_due(&mut self) {
        let now = Now::read();
        self.notice_clock(now.unix);
        for courier in self.board.wake(now) {
            self.farewells.spawn(courier.dismiss());
        }
        while let Some(id) = self.ledger.next_due(now.unix) {
            self.to_look.push_back((id, false));
        }
        while self.looking < LOOKS
            && let Some((id, fresh)) = self.to_look.pop_front()
        {
            self.start_look(id, fresh);
        }
        while let Some(start) = self.board.next_start(|id, host| self.ledger.waits(id, host), now) {
            self.start_journey(start);
        }
        // Who was about to set out may have found that the way must be asked for anew.
        while let Some(host) = self.board.next_question(now) {
            self.start_question(host);
        }
        while let Some(work) = self.jobs.next(&mut self.ledger, &self.parts, &self.to_us) {
            self.tasks.spawn(work);
        }
    }

    /// Where the clock was set back, times that it said are looked at anew.
    fn notice_clock(&mut self, now: i64) {
        if now < self.clock.saturating_sub(retry::FIRST) {
            tracing::warn!(seconds = self.clock.saturating_sub(now), "the clock was set back");
            self.to_look.extend(self.ledger.ids().into_iter().map(|id| (id, false)));
        }
        self.clock = now;
    }

    fn start_look(&mut self, id: EntryId, fresh: bool) {
        if !self.ledger.knows(id) {
            return;
        }
        self.looking += 1;
        let trouble = |host: &Arc<Host>| Some((Arc::clone(host), self.board.trouble(host)?.reason.clone()));
        let dead = self.ledger.places(id).iter().filter_map(trouble).collect();
        let hand = self.ledger.take(id, None);
        let looked = Looked { events: self.to_us.clone(), id: Some(id), fresh };
        self.tasks.spawn(look(self.parts.clone(), hand, dead, looked));
    }

    fn start_question(&mut self, host: Arc<Host>) {
        let (parts, events) = (self.parts.clone(), self.to_us.clone());
        let failures = self.board.trouble(&host).map_or(0, |trouble| trouble.failures);
        self.tasks.spawn(async move {
            let asked = Arc::clone(&host);
            let found = isolated(async move { plan::find(&parts, &asked).await }).await;
            let answer = match found {
                Some(Found::Plan(plan)) => Answer::Way(Arc::clone(plan.key()), Way::Plan(plan)),
                Some(Found::Never(diagnosis)) => {
                    Answer::Way(format!("nowhere: {host}").into(), Way::Never(diagnosis))
                }
                Some(Found::Later(reason)) => later(reason, failures),
                None => later("the look-up broke off by a fault of this server".into(), failures),
            };
            let _ = events.send(Event::Answered(host, answer));
        });
    }

    fn start_journey(&mut self, start: Start<Way, Box<Courier>>) {
        let Start { number, lane, id, host, way, courier, failures } = start;
        let mission = match way {
            Way::Plan(plan) => Mission::Carry { plan, courier, failures },
            Way::Never(diagnosis) => Mission::Never(diagnosis),
        };
        self.start_errand(Errand { id, host, journey: Some((number, lane)) }, mission);
    }

    fn start_errand(&mut self, errand: Errand, mission: Mission) {
        let hand = self.ledger.take(errand.id, Some(&errand.host));
        let ticket = Ticket::new(self.to_us.clone(), errand);
        self.tasks.spawn(send(self.parts.clone(), hand, mission, ticket));
    }

    /// Waits until something is over or due.
    pub(super) async fn step(&mut self) {
        let now = Now::read();
        let pauses = [self.board.pause(now), self.ledger.pause(now.unix), Some(NAP)];
        let pause = pauses.into_iter().flatten().min().unwrap_or(NAP);
        tokio::select! {
            Some(event) = self.events.recv() => self.finished(event),
            () = tokio::time::sleep(pause) => {}
        }
        for _ in 0..EVENTS {
            let Ok(event) = self.events.try_recv() else { break };
            self.finished(event);
        }
        while self.tasks.try_join_next().is_some() {}
        while self.farewells.try_join_next().is_some() {}
        if self.swept.elapsed() >= NAP {
            self.swept = Instant::now();
            self.ledger.cool();
            self.board.sweep(Now::read());
        }
    }

    /// Whether nothing is in hand or could be begun now.
    #[cfg(test)]
    pub(super) fn is_quiet(&self) -> bool {
        self.ledger.is_quiet() && self.board.is_quiet() && self.to_look.is_empty() && self.jobs.is_empty()
    }

    /// Has the clock ahead until now.
    #[cfg(test)]
    pub(super) fn was_ahead(&mut self, seconds: i64) {
        self.clock += seconds;
    }

    /// Looks at an entry as if its time had come.
    #[cfg(test)]
    pub(super) fn look_at(&mut self, id: EntryId) {
        self.to_look.push_back((id, false));
    }

    /// Waits for the transactions in hand; who has not begun one turns back, and nothing new is started.
    pub(super) async fn drain(&mut self) {
        self.parts.halt.call();
        self.jobs.abandon();
        for courier in self.board.dismiss() {
            self.farewells.spawn(courier.dismiss());
        }
        // Look-ups are not waited for: nothing is lost with them.
        while !self.ledger.is_quiet() {
            let Some(event) = self.events.recv().await else { return };
            self.finished(event);
            for courier in self.board.dismiss() {
                self.farewells.spawn(courier.dismiss());
            }
        }
        while self.farewells.join_next().await.is_some() {}
    }

    fn finished(&mut self, event: Event) {
        let now = Now::read();
        match event {
            Event::Answered(host, answer) => self.answered(host, answer, now),
            Event::Carried(number, courier, contact) => {
                if let Some(courier) = self.board.carried(number, courier, contact, now) {
                    self.farewells.spawn(courier.dismiss());
                }
            }
            Event::Sent(errand, outlook) => {
                if let Some((number, lane)) = &errand.journey {
                    // Told already, unless the one who carried it broke off.
                    let _ = self.board.carried(*number, None, super::board::Contact::None, now);
                    self.board.recorded(lane, now);
                }
                self.ledger.give_back(errand.id, Some(&errand.host));
                self.ledger.settle(errand.id, &outlook, false, &mut self.board, now);
            }
            Event::Looked(id, outlook, fresh) => {
                self.looking = self.looking.saturating_sub(1);
                self.ledger.give_back(id, None);
                self.ledger.settle(id, &outlook, fresh, &mut self.board, now);
            }
            Event::Ordered(job, id, ordered) => {
                self.ledger.give_back(id, None);
                if let Some(outlook) = &ordered.outlook {
                    self.ledger.settle(id, outlook, false, &mut self.board, now);
                }
                self.jobs.done(job, ordered, &self.ledger, &mut self.board, now);
            }
        }
    }

    /// A destination that cannot be looked up is closed like one that cannot be reached, and one letter says so.
    fn answered(&mut self, host: Arc<Host>, answer: Answer<Way>, now: Now) {
        let excuse = match &answer {
            Answer::Later { reason, until } => Some(Mission::Later { reason: reason.clone(), until: *until }),
            Answer::Way(..) => None,
        };
        let waits = |id: EntryId, host: &Arc<Host>| self.ledger.waits(id, host);
        let told = self.board.answered(&host, answer, waits, now);
        if let (Some(id), Some(excuse)) = (told, excuse) {
            self.start_errand(Errand { id, host, journey: None }, excuse);
        }
    }
}

fn later(reason: String, failures: u32) -> Answer<Way> {
    let until = unix_time().saturating_add(retry::wait(failures.saturating_add(1), dice()));
    Answer::Later { reason, until }
}
