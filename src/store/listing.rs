//! Names that look-ups by folded name cannot tell apart: capitals, decomposed letters, two names that fold to one.

use super::tree::DirId;
use super::{durable, names};
use rustix::fs::{FileType, Stat};
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// A directory that changed this recently may change again within the same tick of its time stamp.
const SETTLED: i64 = 2;

/// Directories remembered at most.
const REMEMBERED: usize = 4096;

/// What was seen of directories, so that a dictionary attack costs no directory scans: valid while the directory's
/// times stand still.
#[derive(Debug, Default)]
pub(super) struct Listings {
    seen: Mutex<HashMap<DirId, Arc<Listing>>>,
}

/// One directory.
#[derive(Debug)]
pub(super) struct Listing {
    times: Times,
    odd: HashMap<String, Vec<String>>,
    /// Whether one of the names can be a domain's.
    pub holds_domain: bool,
}

type Times = (i64, i64, i64, i64);

impl Listings {
    /// What the directory holds now; `stat` is of `directory`.
    pub(super) fn of(&self, directory: impl AsFd, stat: &Stat) -> rustix::io::Result<Arc<Listing>> {
        let (id, times) = (DirId::of(stat), times(stat));
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listing) = seen().get(&id).filter(|listing| listing.times == times) {
            return Ok(listing.clone());
        }
        let listing = Arc::new(Listing::read(directory, times)?);
        let mut seen = seen();
        if settled(times) {
            if seen.len() >= REMEMBERED {
                seen.clear();
            }
            seen.insert(id, listing.clone());
        } else {
            seen.remove(&id);
        }
        Ok(listing)
    }
}

impl Listing {
    /// The names on the disk that make `name` ambiguous or unreachable; none if all is well.
    pub(super) fn odd_names(&self, name: &str) -> &[String] {
        self.odd.get(name).map_or(&[], Vec::as_slice)
    }

    fn read(directory: impl AsFd, times: Times) -> rustix::io::Result<Listing> {
        let mut odd: HashMap<String, Vec<String>> = HashMap::new();
        let mut holds_domain = false;
        for entry in durable::entries(directory)? {
            // What is no directory is no address, and no name of ours is hidden or not UTF-8.
            let Ok(name) = String::from_utf8(entry.name) else { continue };
            if !matches!(entry.kind, FileType::Directory | FileType::Symlink) || name.starts_with('.') {
                continue;
            }
            holds_domain |= names::is_domain(&name);
            let folded = names::fold(&name);
            if folded != name {
                odd.entry(folded).or_default().push(name);
            }
        }
        Ok(Listing { times, odd, holds_domain })
    }
}

fn times(stat: &Stat) -> Times {
    (stat.st_mtime, stat.st_mtime_nsec as i64, stat.st_ctime, stat.st_ctime_nsec as i64)
}

fn settled(times: Times) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    times.0.max(times.2) + SETTLED < now
}
