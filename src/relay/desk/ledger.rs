//! The entries there are: when each is to be looked at, where it waits, and who has it in hand.

use super::super::board::{Board, Now};
use super::super::hand::Hand;
use super::super::outlook::{NEVER, Outlook};
use crate::mail::address::Host;
use crate::queue::{Entry, EntryId};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// Entries that are kept as they were handed over until their turn comes, at most.
const WARM: usize = 1000;

#[derive(Default)]
pub(super) struct Ledger {
    items: HashMap<EntryId, Item>,
    /// One mark per entry at most.
    marks: BTreeSet<(i64, EntryId)>,
    hands: HashMap<EntryId, InHand>,
    warm: HashMap<EntryId, Box<Entry>>,
}

/// What is kept of an entry that waits: there may be a hundred thousand.
struct Item {
    mark: i64,
    places: Places,
}

/// The destinations whose turn an entry waits for, or that are working on it.
enum Places {
    None,
    One(Arc<Host>),
    Several(Box<[Arc<Host>]>),
}

struct InHand {
    hand: Arc<Hand>,
    users: usize,
    /// The destinations among them.
    hosts: Vec<Arc<Host>>,
}

impl Ledger {
    /// Notes a new entry; says whether it is one.
    pub(super) fn enter(&mut self, id: EntryId) -> bool {
        let new = !self.items.contains_key(&id);
        if new {
            self.items.insert(id, Item { mark: NEVER, places: Places::None });
        }
        new
    }

    pub(super) fn knows(&self, id: EntryId) -> bool {
        self.items.contains_key(&id)
    }

    /// All entries, oldest first.
    pub(super) fn ids(&self) -> Vec<EntryId> {
        let mut ids: Vec<EntryId> = self.items.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Keeps an entry as it was handed over, if there is room.
    pub(super) fn warm(&mut self, entry: Box<Entry>) {
        if self.warm.len() < WARM {
            self.warm.insert(entry.id, entry);
        }
    }

    /// Those whose turn has not come within a minute make room.
    pub(super) fn cool(&mut self) {
        self.warm = HashMap::new();
    }

    /// Whether an entry waits for a destination's turn.
    pub(super) fn waits(&self, id: EntryId, host: &Arc<Host>) -> bool {
        let waits = self.items.get(&id).is_some_and(|item| item.places.as_slice().contains(host));
        waits && !self.hands.get(&id).is_some_and(|held| held.hosts.contains(host))
    }

    /// The destinations whose turn an entry waits for.
    pub(super) fn places(&self, id: EntryId) -> &[Arc<Host>] {
        self.items.get(&id).map_or(&[], |item| item.places.as_slice())
    }

    /// The next entry that is to be looked at.
    pub(super) fn next_due(&mut self, now: i64) -> Option<EntryId> {
        if self.marks.first().is_none_or(|(at, _)| *at > now) {
            return None;
        }
        let (_, id) = self.marks.pop_first()?;
        if let Some(item) = self.items.get_mut(&id) {
            item.mark = NEVER;
        }
        Some(id)
    }

    /// How long nothing is due.
    pub(super) fn pause(&self, now: i64) -> Option<Duration> {
        let (at, _) = self.marks.first()?;
        Some(Duration::from_secs(at.saturating_sub(now).max(0).unsigned_abs()))
    }

    /// Puts an entry where it belongs from now on.
    pub(super) fn settle<W: Clone, C>(
        &mut self,
        id: EntryId,
        outlook: &Outlook,
        fresh: bool,
        board: &mut Board<W, C>,
        now: Now,
    ) {
        let Some(item) = self.items.get_mut(&id) else { return };
        self.marks.remove(&(item.mark, id));
        if outlook.finished {
            self.items.remove(&id);
            self.warm.remove(&id);
            return;
        }
        let mut places: Vec<Arc<Host>> = outlook.due.iter().map(|host| board.name(host)).collect();
        for host in &places {
            if !item.places.as_slice().contains(host) {
                board.add(id, host, fresh, now);
            }
        }
        let busy = self.hands.get(&id).map_or(&[][..], |held| &held.hosts);
        places.extend(busy.iter().filter(|host| !outlook.due.contains(host)).cloned());
        *item = Item { mark: outlook.mark, places: Places::from(places) };
        if outlook.mark != NEVER {
            self.marks.insert((outlook.mark, id));
        }
    }

    /// Takes an entry in hand, for a destination or for something else.
    pub(super) fn take(&mut self, id: EntryId, host: Option<&Arc<Host>>) -> Arc<Hand> {
        let warm = &mut self.warm;
        let held = self.hands.entry(id).or_insert_with(|| {
            let hand = Hand::new(id, warm.remove(&id).map(|entry| *entry));
            InHand { hand, users: 0, hosts: Vec::new() }
        });
        held.users += 1;
        held.hosts.extend(host.cloned());
        Arc::clone(&held.hand)
    }

    /// Gives it back. It does not wait for that destination any more, until it is settled.
    pub(super) fn give_back(&mut self, id: EntryId, host: Option<&Arc<Host>>) {
        let Some(held) = self.hands.get_mut(&id) else { return };
        held.users = held.users.saturating_sub(1);
        if let Some(host) = host {
            held.hosts.retain(|other| other != host);
            if let Some(item) = self.items.get_mut(&id) {
                let left = item.places.as_slice().iter().filter(|other| *other != host).cloned();
                item.places = Places::from(left.collect::<Vec<_>>());
            }
        }
        if held.users == 0 {
            self.hands.remove(&id);
        }
    }

    pub(super) fn is_in_hand(&self, id: EntryId) -> bool {
        self.hands.contains_key(&id)
    }

    /// Whether nothing is in hand.
    pub(super) fn is_quiet(&self) -> bool {
        self.hands.is_empty()
    }
}

impl Places {
    fn as_slice(&self) -> &[Arc<Host>] {
        match self {
            Places::None => &[],
            Places::One(host) => std::slice::from_ref(host),
            Places::Several(hosts) => hosts,
        }
    }
}

impl From<Vec<Arc<Host>>> for Places {
    fn from(mut hosts: Vec<Arc<Host>>) -> Places {
        match (hosts.len(), hosts.pop()) {
            (1, Some(host)) => Places::One(host),
            (_, None) => Places::None,
            (_, Some(last)) => {
                hosts.push(last);
                Places::Several(hosts.into())
            }
        }
    }
}
