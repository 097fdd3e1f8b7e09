//! Who is served when: a heap of due times, and one lane per destination.
//!
//! An entry that waits is a name and a time; one that is due is a name in the lanes of its destinations. Its files are
//! read when its turn comes, so 100,000 letters for a dead host are 100,000 names.

use super::send::{Job, Sent, Shared, lock, postpone, record, send};
use super::{Parts, dice, local, unix_time};
use crate::mail::address::Host;
use crate::policy::retry;
use crate::queue::EntryId;
use crate::system::threads::blocking;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Destinations that are spoken to at once.
const LANES: usize = 20;
/// Entries that are read, and delivered here, at once.
const OPENING: usize = 4;
/// How long a destination that could not be reached is left alone, in seconds.
const CLOSED: i64 = 60;
/// How long we sleep at most: the clock may be set meanwhile.
const NAP: Duration = Duration::from_secs(60);

pub(super) struct Desk {
    parts: Parts,
    /// All entries that we have, wherever they are: none is taken twice.
    known: HashSet<EntryId>,
    due: BinaryHeap<Reverse<(i64, EntryId)>>,
    to_open: VecDeque<EntryId>,
    opening: usize,
    in_hand: HashMap<EntryId, Hand>,
    lanes: HashMap<Host, Lane>,
    /// Lanes that have something waiting and nobody active.
    ready: VecDeque<Host>,
    active: usize,
    tasks: JoinSet<Event>,
}

/// An entry with due destinations.
struct Hand {
    shared: Shared,
    left: usize,
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<EntryId>,
    active: bool,
    closed: Option<(i64, String)>,
}

enum Event {
    Opened(EntryId, Opened),
    Sent(EntryId, Host, Sent),
}

/// An entry after its copies here were made.
#[derive(Default)]
struct Opened {
    destinations: Vec<Host>,
    next_attempt: Option<i64>,
}

impl Desk {
    pub(super) fn new(parts: Parts) -> Desk {
        Desk {
            parts,
            known: HashSet::new(),
            due: BinaryHeap::new(),
            to_open: VecDeque::new(),
            opening: 0,
            in_hand: HashMap::new(),
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            active: 0,
            tasks: JoinSet::new(),
        }
    }

    /// Notified when something was handed over.
    pub(super) fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.parts.wake)
    }

    /// Takes what earlier runs left.
    pub(super) fn take_backlog(&mut self) {
        for waiting in self.parts.queue.take_backlog() {
            self.known.insert(waiting.id);
            let due = waiting.parts.iter().filter(|part| !part.held).map(|part| part.next_attempt).min();
            match due {
                Some(at) => self.due.push(Reverse((at, waiting.id))),
                None if waiting.parts.is_empty() => self.to_open.push_back(waiting.id),
                None => {}
            }
        }
    }

    /// Takes what was handed over, in its order; it comes before what is old.
    pub(super) fn take_fresh(&mut self) {
        for id in self.parts.queue.take_fresh().into_iter().rev() {
            if self.known.insert(id) {
                self.to_open.push_front(id);
            }
        }
    }

    /// Starts what can be started.
    pub(super) fn start_due(&mut self) {
        let now = unix_time();
        while let Some(Reverse((at, _))) = self.due.peek()
            && *at <= now
            && let Some(Reverse((_, id))) = self.due.pop()
        {
            self.to_open.push_back(id);
        }
        while self.opening < OPENING
            && let Some(id) = self.to_open.pop_front()
        {
            self.opening += 1;
            let fallback = Opened { next_attempt: Some(after_fault(now)), ..Opened::default() };
            let work = open(self.parts.clone(), id);
            self.start(work, fallback, move |opened| Event::Opened(id, opened));
        }
        while self.active < LANES
            && let Some(destination) = self.ready.pop_front()
        {
            self.start_lane(destination, now);
        }
    }

    fn start_lane(&mut self, destination: Host, now: i64) {
        let Some(lane) = self.lanes.get_mut(&destination) else { return };
        let Some(id) = lane.waiting.pop_front() else { return };
        let Some(hand) = self.in_hand.get(&id) else { return self.free_lane(destination, None) };
        lane.active = true;
        self.active += 1;
        let job = Job { id, destination: destination.clone(), shared: Arc::clone(&hand.shared) };
        let fallback = Sent { next_attempt: Some(after_fault(now)), unreachable: None };
        let event = move |sent| Event::Sent(id, destination, sent);
        let parts = self.parts.clone();
        match &lane.closed {
            Some((until, why)) if now < *until => {
                let work = postpone(parts, job, why.clone());
                self.start(work, fallback, event);
            }
            _ => {
                lane.closed = None;
                self.start(send(parts, job), fallback, event);
            }
        }
    }

    /// A panic over a stranger's words ends one attempt, not the relay.
    fn start<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = T> + Send + 'static,
        fallback: T,
        event: impl FnOnce(T) -> Event + Send + 'static,
    ) {
        self.tasks.spawn(async move {
            event(tokio::spawn(work).await.unwrap_or_else(|error| {
                tracing::error!(%error, "an attempt broke off; it is made again");
                fallback
            }))
        });
    }

    /// Waits until something is over or due.
    pub(super) async fn step(&mut self) {
        let pause = match self.due.peek() {
            Some(Reverse((at, _))) => {
                Duration::from_secs(at.saturating_sub(unix_time()).max(0).unsigned_abs())
            }
            None => NAP,
        };
        tokio::select! {
            Some(event) = self.tasks.join_next() => {
                if let Ok(event) = event {
                    self.finished(event);
                }
            }
            () = tokio::time::sleep(pause.min(NAP)) => self.sweep(),
        }
    }

    /// Whether nothing is in hand or could be begun now.
    #[cfg(test)]
    pub(super) fn is_quiet(&self) -> bool {
        self.tasks.is_empty() && self.to_open.is_empty() && self.ready.is_empty()
    }

    /// Waits for what is in hand; nothing new is started.
    pub(super) async fn drain(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    fn finished(&mut self, event: Event) {
        match event {
            Event::Opened(id, opened) => {
                self.opening -= 1;
                self.opened(id, opened);
            }
            Event::Sent(id, destination, sent) => {
                self.active -= 1;
                self.free_lane(destination, sent.unreachable);
                let Some(hand) = self.in_hand.get_mut(&id) else { return };
                hand.left = hand.left.saturating_sub(1);
                if hand.left == 0 {
                    self.in_hand.remove(&id);
                    self.schedule(id, sent.next_attempt);
                }
            }
        }
    }

    fn opened(&mut self, id: EntryId, opened: Opened) {
        if opened.destinations.is_empty() {
            return self.schedule(id, opened.next_attempt);
        }
        let hand = Hand { shared: Shared::default(), left: opened.destinations.len() };
        self.in_hand.insert(id, hand);
        for destination in opened.destinations {
            let lane = self.lanes.entry(destination.clone()).or_default();
            lane.waiting.push_back(id);
            if !lane.active && lane.waiting.len() == 1 {
                self.ready.push_back(destination);
            }
        }
    }

    fn free_lane(&mut self, destination: Host, unreachable: Option<String>) {
        let Some(lane) = self.lanes.get_mut(&destination) else { return };
        lane.active = false;
        if let Some(why) = unreachable {
            lane.closed = Some((unix_time().saturating_add(CLOSED), why));
        }
        if !lane.waiting.is_empty() {
            self.ready.push_back(destination);
        } else if lane.closed.is_none() {
            self.lanes.remove(&destination);
        }
    }

    fn schedule(&mut self, id: EntryId, next_attempt: Option<i64>) {
        match next_attempt {
            Some(at) => self.due.push(Reverse((at, id))),
            None => {
                self.known.remove(&id);
            }
        }
    }

    /// Forgets destinations that were unreachable a while ago and that nobody asks for.
    fn sweep(&mut self) {
        let now = unix_time();
        let closed = |lane: &Lane| lane.closed.as_ref().is_some_and(|(until, _)| now < *until);
        self.lanes.retain(|_, lane| lane.active || !lane.waiting.is_empty() || closed(lane));
    }
}

fn after_fault(now: i64) -> i64 {
    now.saturating_add(retry::wait(1, dice()))
}

/// Loads an entry, makes its copies here, and says where else it goes now.
async fn open(parts: Parts, id: EntryId) -> Opened {
    let shared = Shared::default();
    let (opening, slot) = (parts.clone(), Arc::clone(&shared));
    let loaded = blocking(move || {
        let Some(mut entry) = opening.queue.load(&id)? else { return Ok(None) };
        let changed = local::deliver(&opening, &mut entry, unix_time());
        let finished = entry.is_finished();
        *lock(&slot) = Some(entry);
        Ok(Some(changed || finished))
    });
    let to_record = match loaded.await {
        Ok(None) => return Opened::default(),
        Ok(Some(to_record)) => to_record,
        Err(error) => {
            let error: crate::store::StoreError = error;
            tracing::error!(%id, %error, "a queued letter cannot be read; tried again");
            return Opened { next_attempt: Some(after_fault(unix_time())), ..Opened::default() };
        }
    };
    if to_record {
        record(&parts, &shared).await;
    }
    let slot = lock(&shared);
    let Some(entry) = slot.as_ref() else { return Opened::default() };
    let now = unix_time();
    let mut destinations: Vec<Host> = Vec::new();
    for recipient in entry.recipients.iter().filter(|r| r.is_due(now)) {
        let host = recipient.recipient.address.host();
        if !destinations.contains(host) {
            destinations.push(host.clone());
        }
    }
    Opened { destinations, next_attempt: entry.next_attempt() }
}
