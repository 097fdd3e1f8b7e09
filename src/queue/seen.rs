//! What was seen: nonces and spent signatures, in memory and in the log `seen`.
//!
//! The log is text, one committed submission per line: `1 TIME ENTRY DIGEST NONCE SIGNATURE,…`, with `-` where there is
//! none. The first field is the version of the line. It is written behind the commit, before the entry is taken apart,
//! and rewritten at each start from itself and the entries; so a crash between the two loses nothing, and a line that
//! was torn by a crash is only ever that of an entry which is still there.

use super::disk::{create, fault};
use super::{EntryId, Once, Seen};
use crate::store::StoreError;
use aws_lc_rs::digest::{SHA256, digest};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// How long marks are kept, in seconds: far longer than a seal's time is accepted.
const KEPT: i64 = 30 * 24 * 3600;
/// How long a plain submission's repeat is answered as the first was, when its entry is gone, in seconds.
const PLAIN_REPEAT: i64 = 600;
/// How often old marks are looked for, in seconds.
const SWEEP: i64 = 3600;

/// The marks in memory, some 150 octets for a letter: 100,000 may be queued.
#[derive(Debug, Default)]
pub(super) struct Marks {
    uses: HashMap<Id, Use>,
    /// Mark → the entry that left it.
    by_mark: HashMap<Key, Id>,
    /// Entries that are still in the queue: their marks do not age.
    living: HashSet<Id>,
    in_flight: HashSet<Key>,
    swept: i64,
}

/// A submission that was committed.
#[derive(Clone, Copy, Debug)]
struct Use {
    time: i64,
    digest: Key,
    sealed: bool,
}

/// An entry's name as a number.
type Id = u128;

/// The first half of a SHA-256.
type Key = [u8; 16];

impl Marks {
    /// docs/submission.md rules 4 and 5. What is committed is looked for before what is in flight.
    pub(super) fn look_up(&self, once: &Once, now: i64) -> Seen {
        let same = |known: &Use| known.digest == key('d', &once.digest);
        if let Some((id, known)) = once.nonce.as_ref().and_then(|nonce| self.used(&key('n', nonce))) {
            return match same(known) {
                true => Seen::Same(name(id)),
                false => Seen::Different(format!(
                    "this nonce was used before, for another letter or other recipients (queued as {}); seal the letter anew",
                    name(id)
                )),
            };
        }
        let mut signatures = once.signatures.iter().map(|signature| key('s', signature));
        if let Some((id, known)) = signatures.find_map(|mark| self.used(&mark)) {
            let repeat = once.nonce.is_none() && !known.sealed && same(known);
            return self.spent(id, repeat, now.saturating_sub(known.time));
        }
        match marks_of(once).any(|mark| self.in_flight.contains(&mark)) {
            true => Seen::InFlight,
            false => Seen::New,
        }
    }

    fn spent(&self, id: Id, repeat: bool, age: i64) -> Seen {
        if repeat && (self.living.contains(&id) || age <= PLAIN_REPEAT) {
            return Seen::Same(name(id));
        }
        let why = match repeat {
            true => "the letter was accepted and has left; to send it again, sign it again",
            false => "a signature counts for one submission; sign the letter anew",
        };
        Seen::Different(format!("the signature was used before (queued as {}): {why}", name(id)))
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
    pub(super) fn commit(&mut self, entry: &EntryId, time: i64, once: Option<&Once>) {
        self.living.insert(number(entry));
        if let Some(once) = once {
            self.learn(entry, time, once);
        }
    }

    /// An entry has left the queue.
    pub(super) fn finish(&mut self, entry: &EntryId) {
        self.living.remove(&number(entry));
    }

    fn used(&self, mark: &Key) -> Option<(Id, &Use)> {
        let id = self.by_mark.get(mark)?;
        Some((*id, self.uses.get(id)?))
    }

    /// Whether it was new.
    fn learn(&mut self, entry: &EntryId, time: i64, once: &Once) -> bool {
        let id = number(entry);
        self.by_mark.extend(marks_of(once).map(|mark| (mark, id)));
        let used = Use { time, digest: key('d', &once.digest), sealed: once.nonce.is_some() };
        self.uses.insert(id, used).is_none()
    }

    pub(super) fn forget_old(&mut self, now: i64) {
        if now.saturating_sub(self.swept) < SWEEP {
            return;
        }
        self.swept = now;
        self.uses.retain(|id, used| !is_old(used.time, now) || self.living.contains(id));
        self.by_mark.retain(|_, id| self.uses.contains_key(id));
    }
}

fn is_old(time: i64, now: i64) -> bool {
    now.saturating_sub(time) > KEPT
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

fn number(entry: &EntryId) -> Id {
    Id::from_str_radix(&entry.0, 16).unwrap_or_default()
}

fn name(id: Id) -> String {
    format!("{id:020x}")
}

/// The log while it is written anew, at a start.
#[derive(Debug)]
pub(super) struct Rewrite {
    state_dir: PathBuf,
    out: BufWriter<File>,
    pub(super) marks: Marks,
}

impl Rewrite {
    /// Begins with those lines of the old log that are not too old.
    pub(super) fn begin(state_dir: &Path, now: i64) -> Result<Rewrite, StoreError> {
        let path = state_dir.join("seen.new");
        let file = create(&path, true).map_err(|error| fault(&path, "rewriting the log", error))?;
        let mut rewrite =
            Rewrite { state_dir: state_dir.to_owned(), out: BufWriter::new(file), marks: Marks::default() };
        rewrite.copy_old(&state_dir.join("seen"), now)?;
        Ok(rewrite)
    }

    /// A line that cannot be read is left out: it was torn by a crash, and then its entry is still there; or it was
    /// damaged later, which is said.
    fn copy_old(&mut self, path: &Path, now: i64) -> Result<(), StoreError> {
        let reading = |error| fault(path, "reading the log of what was seen", error);
        let mut old = match File::open(path) {
            Ok(file) => BufReader::new(file),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(reading(error)),
        };
        let mut line = Vec::new();
        while old.read_until(b'\n', &mut line).map_err(reading)? > 0 {
            let whole = line.strip_suffix(b"\n").and_then(|text| std::str::from_utf8(text).ok());
            match whole.and_then(read_line) {
                Some((_, time, _)) if is_old(time, now) => {}
                Some((entry, time, once)) => self.add(&entry, time, Some(&once))?,
                None if line == b"\n" => {}
                None => {
                    tracing::warn!(path = %path.display(), text = %line.escape_ascii(), "no whole line: left out")
                }
            }
            line.clear();
        }
        Ok(())
    }

    /// Adds what an entry spent, unless it is there already.
    pub(super) fn add(&mut self, entry: &EntryId, time: i64, once: Option<&Once>) -> Result<(), StoreError> {
        match once {
            Some(once) if self.marks.learn(entry, time, once) => {
                let written = self.out.write_all(line(entry, time, once).as_bytes());
                written.map_err(|error| fault(&self.state_dir, "rewriting the log of what was seen", error))
            }
            _ => Ok(()),
        }
    }

    /// Replaces the old log in one step.
    pub(super) fn finish(self) -> Result<(Log, Marks), StoreError> {
        let path = self.state_dir.join("seen");
        let rewriting = |error| fault(&path, "rewriting the log of what was seen", error);
        let file = self.out.into_inner().map_err(|error| rewriting(error.into_error()))?;
        file.sync_all().map_err(rewriting)?;
        std::fs::rename(self.state_dir.join("seen.new"), &path).map_err(rewriting)?;
        File::open(&self.state_dir).and_then(|dir| dir.sync_all()).map_err(rewriting)?;
        Ok((Log { file }, self.marks))
    }
}

/// The log, open for appending.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
}

impl Log {
    /// Appends, durably. The file's offset is at its end: nobody else writes to it.
    pub(super) fn append(&mut self, entry: &EntryId, time: i64, once: &Once) -> Result<(), StoreError> {
        // A newline in front ends what a failed write may have left; an empty line means nothing.
        let text = format!("\n{}", line(entry, time, once));
        self.file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_data())
            .map_err(|error| StoreError::io("writing the log of what was seen", error))
    }
}

fn line(entry: &EntryId, time: i64, once: &Once) -> String {
    let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let nonce = dash(once.nonce.as_deref().unwrap_or_default());
    format!("1 {time} {entry} {} {nonce} {}\n", dash(&once.digest), dash(&once.signatures.join(",")))
}

fn read_line(line: &str) -> Option<(EntryId, i64, Once)> {
    let mut words = line.split(' ');
    let mut word = || words.next().filter(|word| !word.is_empty());
    if word()? != "1" {
        return None;
    }
    let time = word()?.parse().ok()?;
    let entry = EntryId::parse(word()?)?;
    let some = |text: &str| (text != "-").then(|| text.to_owned());
    let digest = some(word()?)?;
    let nonce = some(word()?);
    let signatures = some(word()?).map(|list| list.split(',').map(str::to_owned).collect());
    if words.next().is_some() {
        return None;
    }
    Some((entry, time, Once { nonce, digest, signatures: signatures.unwrap_or_default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_behind_a_write_that_failed_half_way_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = Rewrite::begin(dir.path(), 0).unwrap().finish().unwrap();
        log.file.write_all(b"1 18000").unwrap();
        let entry = EntryId("6b49d200aaaaaaaaaaaa".into());
        let once =
            Once { nonce: Some("n".into()), digest: "d".into(), signatures: vec!["s".into(), "t".into()] };
        log.append(&entry, 5, &once).unwrap();
        let (_, marks) = Rewrite::begin(dir.path(), 0).unwrap().finish().unwrap();
        assert_eq!(marks.look_up(&once, 5), Seen::Same(entry.0));
    }
}
