//! What a start makes of what it finds (docs/states.md).

use super::disk::Disk;
use super::log::{Left, Log, Rewrite};
use super::place::Found;
use super::seen::{Marks, Spent};
use super::waiting::{Hosts, Waiting};
use super::{EntryId, Once, lock};
use crate::store::StoreError;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Threads that read at once, so that the disk has several requests to choose from.
const READERS: usize = 4;
/// Entries that a thread reads before it hands over what it found.
const BATCH: usize = 64;
/// How often a long scan says how far it is.
const PROGRESS: Duration = Duration::from_secs(5);

/// The queue after a start.
pub(super) struct Recovered {
    pub(super) log: Log,
    pub(super) marks: Marks,
    /// What earlier runs left, oldest first.
    pub(super) backlog: Vec<Waiting>,
}

/// `now` decides which marks are too old to keep.
pub(super) fn recover(state_dir: &Path, disk: &Disk, now: i64) -> Result<Recovered, StoreError> {
    let mut seen = Rewrite::begin(state_dir, now)?;
    let mut ids = disk.sweep_queue()?;
    let finished: Vec<EntryId> = ids.extract_if(.., |id| seen.is_finished(*id)).collect();
    for id in finished {
        if let Err(error) = disk.remove(id) {
            tracing::error!(%id, %error, "a finished queue entry cannot be removed; it stays finished");
            seen.keep(id)?;
        }
    }
    let Scan { mut backlog, damaged, .. } = scan(disk, &ids, &mut seen.marks);
    for (id, _, once) in &damaged {
        // What it spent stays spent, although it cannot be delivered.
        seen.add(Left::Damaged, *id, once.as_deref())?;
    }
    // What is gone must stay so when the line that says that it is finished is gone as well.
    disk.sync_queue()?;
    let (log, marks) = seen.finish()?;
    for (id, why, _) in damaged {
        // The others shall not wait for one that can be neither read nor moved.
        if let Err(error) = disk.set_aside(id, &why) {
            tracing::error!(%id, why, %error, "a damaged queue entry stays where it is until the next start");
        }
    }
    disk.sweep_states(|id| marks.is_living(id))?;
    backlog.sort_unstable_by_key(|waiting| waiting.id);
    Ok(Recovered { log, marks, backlog })
}

/// What was found so far.
struct Scan<'a> {
    marks: &'a mut Marks,
    hosts: Hosts,
    backlog: Vec<Waiting>,
    damaged: Vec<(EntryId, String, Option<Box<Once>>)>,
    read: usize,
    said: Instant,
}

/// What one entry is, and what it spent.
type Read = (EntryId, Result<Found, StoreError>, Option<Spent>);

fn scan<'a>(disk: &Disk, ids: &[EntryId], marks: &'a mut Marks) -> Scan<'a> {
    let scan = Mutex::new(Scan {
        marks,
        hosts: Hosts::default(),
        backlog: Vec::with_capacity(ids.len()),
        damaged: Vec::new(),
        read: 0,
        said: Instant::now(),
    });
    let batches: Vec<&[EntryId]> = ids.chunks(BATCH).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
            let read: Vec<Read> = batch.iter().map(|id| read(disk, *id)).collect();
            lock(&scan).take(read);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..READERS.min(batches.len()) {
            // With fewer threads it takes longer.
            let _ = std::thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    scan.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn read(disk: &Disk, id: EntryId) -> Read {
    let found = disk.load(id);
    let spent = match &found {
        Ok(Found::Entry(entry)) => entry.once.as_ref().map(Spent::of),
        _ => None,
    };
    (id, found, spent)
}

impl Scan<'_> {
    fn take(&mut self, batch: Vec<Read>) {
        self.read += batch.len();
        for (id, found, spent) in batch {
            self.found(id, found, spent);
        }
        if self.said.elapsed() >= PROGRESS {
            self.said = Instant::now();
            tracing::info!("reading the queue: {} letters", self.read);
        }
    }

    fn found(&mut self, id: EntryId, found: Result<Found, StoreError>, spent: Option<Spent>) {
        match found {
            Ok(Found::Entry(entry)) => {
                self.marks.commit(id, spent);
                self.backlog.push(Waiting::of(&entry, &mut self.hosts));
            }
            Ok(Found::Nothing) => {}
            Ok(Found::Damaged { why, once }) => self.damaged.push((id, why, once)),
            Err(error) => {
                tracing::error!(%id, %error, "a queue entry cannot be read; it stays where it is");
                self.marks.commit(id, None);
                // What a later version wrote is for that one; what the disk does not give now it may give later.
                if !matches!(error, StoreError::Unsafe(_)) {
                    self.backlog.push(Waiting::unread(id));
                }
            }
        }
    }
}
