//! Orders that are being carried out, entry by entry, while the desk goes on with everything else.

use super::super::Parts;
use super::super::board::{Board, Now};
use super::super::hand::Hand;
use super::super::orders::{Done, Order, carry_out};
use super::super::outlook::Outlook;
use super::super::unix_time;
use super::ledger::Ledger;
use super::ticket::{Event, Ordered};
use crate::mail::address::Host;
use crate::queue::EntryId;
use crate::queue::select::{Selection, Word};
use crate::system::threads::blocking;
use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Entries that nobody else has in hand, and that are read for orders at once.
const AT_ONCE: usize = 8;
/// How long a delivery in hand is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

type Answer = oneshot::Sender<Result<Vec<Done>, String>>;

#[derive(Default)]
pub(super) struct Jobs {
    jobs: HashMap<u64, Job>,
    numbers: u64,
}

struct Job {
    order: Order,
    selection: Arc<Selection>,
    left: VecDeque<EntryId>,
    running: usize,
    done: Vec<Done>,
    /// Destinations of which nothing bad will be known any more.
    pardoned: HashSet<Host>,
    answer: Answer,
}

impl Job {
    fn is_over(&self) -> bool {
        self.left.is_empty() && self.running == 0
    }
}

impl Jobs {
    pub(super) fn begin(&mut self, order: Order, selection: Selection, answer: Answer, ledger: &Ledger) {
        let one = |word: &Word| match word {
            Word::Entry(id) => Some(*id),
            _ => None,
        };
        let named: Option<Vec<EntryId>> = selection.words.iter().map(one).collect();
        let mut left = match named {
            Some(named) if !named.is_empty() => {
                named.into_iter().filter(|id| ledger.knows(*id)).collect::<Vec<_>>()
            }
            _ => ledger.ids(),
        };
        // What is in hand may have to be waited for: not with the others behind it.
        left.sort_by_key(|id| ledger.is_in_hand(*id));
        self.numbers += 1;
        let job = Job {
            order,
            selection: Arc::new(selection),
            left: left.into(),
            running: 0,
            done: Vec::new(),
            pardoned: HashSet::new(),
            answer,
        };
        self.jobs.insert(self.numbers, job);
        self.finish(self.numbers);
    }

    /// The next entry's turn, if there is room.
    pub(super) fn next(
        &mut self,
        ledger: &mut Ledger,
        parts: &Parts,
        events: &UnboundedSender<Event>,
    ) -> Option<impl Future<Output = ()> + Send + 'static + use<>> {
        for (&number, job) in &mut self.jobs {
            let Some(id) = job.left.front() else { continue };
            // What somebody has in hand may be waited for: that takes nobody else's turn.
            if job.running >= AT_ONCE && !ledger.is_in_hand(*id) {
                continue;
            }
            let Some(id) = job.left.pop_front() else { continue };
            job.running += 1;
            let hand = ledger.take(id, None);
            let turn = Turn {
                parts: parts.clone(),
                order: job.order,
                selection: Arc::clone(&job.selection),
                report: Report { events: events.clone(), job: number, id: Some(id) },
            };
            return Some(turn.run(hand));
        }
        None
    }

    /// Takes what was done for an entry.
    pub(super) fn done<W: Clone, C>(
        &mut self,
        number: u64,
        ordered: Ordered,
        ledger: &Ledger,
        board: &mut Board<W, C>,
        now: Now,
    ) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        job.running = job.running.saturating_sub(1);
        job.done.extend(ordered.done);
        if matches!(job.order, Order::Retry | Order::Release) {
            job.pardoned.extend(ordered.hosts);
        }
        if job.is_over() {
            // Not before: a letter whose turn had not come would go, and nobody be told that it was asked for.
            for host in std::mem::take(&mut job.pardoned) {
                let name = board.name(&host);
                board.pardon(&name, now);
            }
        }
        if self.finish(number) {
            board.purge(|id, host| ledger.waits(id, host));
        }
    }

    /// Answers if nothing is left to do.
    fn finish(&mut self, number: u64) -> bool {
        let over = self.jobs.get(&number).is_some_and(Job::is_over);
        if over && let Some(job) = self.jobs.remove(&number) {
            // Who asked may be gone.
            let _ = job.answer.send(Ok(job.done));
        }
        over
    }

    /// Those who wait for an answer get none.
    pub(super) fn abandon(&mut self) {
        self.jobs.clear();
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }
}

/// An order for one entry.
struct Turn {
    parts: Parts,
    order: Order,
    selection: Arc<Selection>,
    report: Report,
}

impl Turn {
    async fn run(mut self, hand: Arc<Hand>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let freed = hand.freed.notified();
            let mut freed = std::pin::pin!(freed);
            // From here on nothing is missed.
            freed.as_mut().enable();
            let (patient, here) = (Instant::now() < deadline, Arc::clone(&hand));
            match blocking(move || self.attempt(&here, patient)).await {
                Some(again) => self = again,
                None => return,
            }
            let _ = tokio::time::timeout_at(deadline, freed).await;
        }
    }

    /// Comes back if somebody is being delivered to, which is waited for. Tells under the lock, as everybody does who
    /// works on an entry. Blocks.
    fn attempt(mut self, hand: &Hand, patient: bool) -> Option<Turn> {
        let mut slot = match hand.open(&self.parts) {
            Ok(slot) => slot,
            Err(error) => {
                self.report.tell(Ordered::fault(hand.id, error.to_string()));
                return None;
            }
        };
        let Some(entry) = &slot.entry else {
            let gone = Ordered { outlook: Some(Outlook::finished()), ..Ordered::nothing() };
            self.report.tell(gone);
            return None;
        };
        let covers = |state| self.selection.covers(entry, state);
        if patient && slot.busy.iter().filter_map(|&place| entry.recipients.get(place)).any(covers) {
            return Some(self);
        }
        let mut changed = entry.clone();
        let done = carry_out(&self.parts, &mut changed, self.order, &self.selection, &slot.busy);
        if changed != *entry
            && let Err(error) = self.parts.queue.record(&changed)
        {
            self.report.tell(Ordered::fault(hand.id, error.to_string()));
            return None;
        }
        let meant = changed.recipients.iter().filter(|state| self.selection.covers(&changed, state));
        let hosts = meant.map(|state| state.recipient.address.host().clone()).collect();
        let outlook = Some(Outlook::of(&changed, &self.parts.config, unix_time()));
        slot.entry = Some(changed);
        self.report.tell(Ordered { done, hosts, outlook });
        None
    }
}

impl Ordered {
    fn nothing() -> Ordered {
        Ordered { done: Vec::new(), hosts: Vec::new(), outlook: None }
    }

    fn fault(id: EntryId, fault: String) -> Ordered {
        Ordered { done: vec![Done::fault(id, fault)], ..Ordered::nothing() }
    }
}

/// The way back; who ends without a word, by a panic, is told of all the same.
struct Report {
    events: UnboundedSender<Event>,
    job: u64,
    /// None: told.
    id: Option<EntryId>,
}

impl Report {
    fn tell(&mut self, ordered: Ordered) {
        if let Some(id) = self.id.take() {
            let _ = self.events.send(Event::Ordered(self.job, id, ordered));
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.tell(Ordered::nothing());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_hand_comes_last() {
        let (mut ledger, mut jobs) = (Ledger::default(), Jobs::default());
        let ids = [1, 2, 3].map(|n| EntryId::parse(&format!("6b033b7d{n:012x}")).unwrap());
        assert!(ids.iter().all(|&id| ledger.enter(id)));
        let _hand = ledger.take(ids[0], None);
        let (answer, _answered) = oneshot::channel();
        jobs.begin(Order::Hold, Selection::default(), answer, &ledger);
        assert_eq!(jobs.jobs[&1].left, [ids[1], ids[2], ids[0]]);
    }
}
