//! What was seen, in memory: nonces and spent signatures, and which entries are in the queue.

use super::{EntryId, Once, Seen};
use aws_lc_rs::digest::{SHA256, digest};
use std::collections::{HashMap, HashSet};

/// How long marks are kept, in seconds: far longer than a seal's time is accepted.
const KEPT: i64 = 30 * 24 * 3600;
/// How long a plain submission's repeat is answered as the first was, when its entry is gone, in seconds.
const PLAIN_REPEAT: i64 = 600;
/// How often old marks are looked for, in seconds.
const SWEEP: i64 = 3600;

/// Some 150 octets for a letter: 100,000 may be queued.
#[derive(Debug, Default)]
pub(super) struct Marks {
    uses: HashMap<EntryId, Use>,
    /// Mark → the entry that left it.
    by_mark: HashMap<Key, EntryId>,
    /// Entries that are in the queue: their marks do not age.
    living: HashSet<EntryId>,
    in_flight: HashSet<Key>,
    swept: i64,
}

/// A submission that was committed.
#[derive(Clone, Copy, Debug)]
struct Use {
    digest: Key,
    sealed: bool,
}

/// The first half of a SHA-256.
type Key = [u8; 16];

impl Marks {
    /// docs/submission.md rules 4 and 5. What is committed is looked for before what is in flight.
    pub(super) fn look_up(&self, once: &Once, now: i64) -> Seen {
        let same = |known: &Use| known.digest == key('d', &once.digest);
        if let Some((id, known)) = once.nonce.as_ref().and_then(|nonce| self.used(&key('n', nonce))) {
            return match same(known) {
                true => Seen::Same(id),
                false => Seen::Different(format!(
                    "this nonce was used before, for another letter or other recipients (queued as {id}); seal the letter anew"
                )),
            };
        }
        let mut signatures = once.signatures.iter().map(|signature| key('s', signature));
        if let Some((id, known)) = signatures.find_map(|mark| self.used(&mark)) {
            let repeat = once.nonce.is_none() && !known.sealed && same(known);
            return self.spent(id, repeat, now.saturating_sub(id.arrived()));
        }
        match marks_of(once).any(|mark| self.in_flight.contains(&mark)) {
            true => Seen::InFlight,
            false => Seen::New,
        }
    }

    fn spent(&self, id: EntryId, repeat: bool, age: i64) -> Seen {
        if repeat && (self.living.contains(&id) || age <= PLAIN_REPEAT) {
            return Seen::Same(id);
        }
        let why = match repeat {
            true => "the letter was accepted and has left; to send it again, sign it again",
            false => "a signature counts for one submission; sign the letter anew",
        };
        Seen::Different(format!("the signature was used before (queued as {id}): {why}"))
    }

    pub(super) fn hold(&mut self, once: &Once) {
        self.in_flight.extend(marks_of(once));
    }

    pub(super) fn give_back(&mut self, once: &Once) {
        for mark in marks_of(once) {
            self.in_flight.remove(&mark);
        }
    }

    /// An entry is in the queue.
    pub(super) fn commit(&mut self, id: EntryId, spent: Option<Spent>) {
        self.living.insert(id);
        if let Some(spent) = spent {
            self.learn(id, spent);
        }
    }

    /// An entry was read, perhaps one that could not be read at the start.
    pub(super) fn recall(&mut self, id: EntryId, once: Option<&Once>) {
        if let Some(once) = once.filter(|_| !self.uses.contains_key(&id)) {
            self.learn(id, Spent::of(once));
        }
    }

    /// An entry has left the queue.
    pub(super) fn finish(&mut self, id: EntryId) {
        self.living.remove(&id);
    }

    /// Whether an entry is in the queue.
    pub(super) fn is_living(&self, id: EntryId) -> bool {
        self.living.contains(&id)
    }

    fn used(&self, mark: &Key) -> Option<(EntryId, &Use)> {
        let id = self.by_mark.get(mark)?;
        Some((*id, self.uses.get(id)?))
    }

    /// Whether it was new.
    pub(super) fn learn(&mut self, id: EntryId, spent: Spent) -> bool {
        self.by_mark.extend(spent.marks.into_iter().map(|mark| (mark, id)));
        self.uses.insert(id, spent.used).is_none()
    }

    pub(super) fn forget_old(&mut self, now: i64) {
        // The clock may have been ahead.
        if (0..SWEEP).contains(&now.saturating_sub(self.swept)) {
            return;
        }
        self.swept = now;
        self.uses.retain(|id, _| !is_old(*id, now) || self.living.contains(id));
        self.by_mark.retain(|_, id| self.uses.contains_key(id));
    }
}

/// What an entry spent, as it is kept here.
#[derive(Debug)]
pub(super) struct Spent {
    used: Use,
    marks: Vec<Key>,
}

impl Spent {
    pub(super) fn of(once: &Once) -> Spent {
        let used = Use { digest: key('d', &once.digest), sealed: once.nonce.is_some() };
        Spent { used, marks: marks_of(once).collect() }
    }
}

/// Whether an entry came so long ago that its marks need not be kept.
pub(super) fn is_old(id: EntryId, now: i64) -> bool {
    now.saturating_sub(id.arrived()) > KEPT
}

fn marks_of(once: &Once) -> impl Iterator<Item = Key> + '_ {
    let signatures = once.signatures.iter().map(|signature| key('s', signature));
    once.nonce.iter().map(|nonce| key('n', nonce)).chain(signatures)
}

fn key(kind: char, text: &str) -> Key {
    let hash = digest(&SHA256, format!("{kind}{text}").as_bytes());
    let mut key = Key::default();
    key.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    key
}
