//! The log `seen`: which entries are finished, and what they spent.
//!
//! Text, a line per entry that has left the queue: `1 finished ENTRY DIGEST NONCE SIGNATURE,… CHECK`, with `-` where
//! there is none. The first word is the version of the line, the last one the beginning of a digest of the others: a
//! line has the power to end a letter, and none that is torn or damaged may have it. `damaged` instead of `finished` is
//! an entry that was set aside: its marks stay spent.

use super::disk::create;
use super::group::Group;
use super::place::fault;
use super::seen::{Marks, Spent, is_old};
use super::{EntryId, Once};
use crate::store::StoreError;
use aws_lc_rs::digest::{SHA256, digest};
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Why an entry has left the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Finished,
    Damaged,
}

/// The log, open for appending.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    waiting: Group<String>,
}

impl Log {
    /// Appends a line, durably, together with whoever does so at the same time. The file's offset is at its end:
    /// nobody else writes to it.
    pub(super) fn append(&self, left: Left, id: EntryId, once: Option<&Once>) -> Result<(), StoreError> {
        let add = |text: &mut String| text.push_str(&line(left, id, once));
        let write = |text: String| {
            // A newline in front ends what a failed write may have left; an empty line means nothing.
            (&self.file).write_all(format!("\n{text}").as_bytes())?;
            self.file.sync_data()
        };
        let written = self.waiting.join(add, write);
        written.map_err(|error| StoreError::io("writing the log of what was seen", error))
    }
}

/// The log while it is written anew, at a start.
#[derive(Debug)]
pub(super) struct Rewrite {
    state_dir: PathBuf,
    out: BufWriter<File>,
    pub(super) marks: Marks,
    finished: HashSet<EntryId>,
}

impl Rewrite {
    /// Begins with those marks of the old log that are not too old.
    pub(super) fn begin(state_dir: &Path, now: i64) -> Result<Rewrite, StoreError> {
        let path = state_dir.join("seen.new");
        let file = create(&path, true).map_err(|error| fault(&path, "rewriting the log", error))?;
        let mut rewrite = Rewrite {
            state_dir: state_dir.to_owned(),
            out: BufWriter::with_capacity(64 << 10, file),
            marks: Marks::default(),
            finished: HashSet::new(),
        };
        rewrite.copy_old(&state_dir.join("seen"), now)?;
        Ok(rewrite)
    }

    fn copy_old(&mut self, path: &Path, now: i64) -> Result<(), StoreError> {
        // Files are removed on its word before the new log stands: a line that was written and not yet durable when we
        // were killed must not go with the power, its entry gone already.
        match File::open(path).and_then(|old| old.sync_all()) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(fault(path, "making the log of what was seen durable", error));
            }
            _ => {}
        }
        read(path, |left, id, once| {
            if left == Left::Finished {
                self.finished.insert(id);
            }
            if !is_old(id, now) { self.add(left, id, once.as_ref()) } else { Ok(()) }
        })
    }

    /// Whether the old log says that an entry is finished.
    pub(super) fn is_finished(&self, id: EntryId) -> bool {
        self.finished.contains(&id)
    }

    /// Adds what an entry spent, unless it is there already.
    pub(super) fn add(&mut self, left: Left, id: EntryId, once: Option<&Once>) -> Result<(), StoreError> {
        match once {
            Some(once) if self.marks.learn(id, Spent::of(once)) => {
                let written = self.out.write_all(line(left, id, Some(once)).as_bytes());
                written.map_err(|error| fault(&self.state_dir, "rewriting the log of what was seen", error))
            }
            _ => Ok(()),
        }
    }

    /// Keeps the word that an entry is finished, whose file is still there.
    pub(super) fn keep(&mut self, id: EntryId) -> Result<(), StoreError> {
        let written = self.out.write_all(line(Left::Finished, id, None).as_bytes());
        written.map_err(|error| fault(&self.state_dir, "rewriting the log of what was seen", error))
    }

    /// Replaces the old log in one step. Lines without marks are not in it any more: the removal of their entries must
    /// be durable before.
    pub(super) fn finish(self) -> Result<(Log, Marks), StoreError> {
        let path = self.state_dir.join("seen");
        let rewriting = |error| fault(&path, "rewriting the log of what was seen", error);
        let file = self.out.into_inner().map_err(|error| rewriting(error.into_error()))?;
        file.sync_all().map_err(rewriting)?;
        std::fs::rename(self.state_dir.join("seen.new"), &path).map_err(rewriting)?;
        File::open(&self.state_dir).and_then(|dir| dir.sync_all()).map_err(rewriting)?;
        Ok((Log { file, waiting: Group::default() }, self.marks))
    }
}

/// The entries that the log says are finished; for those who only look.
pub(super) fn finished(state_dir: &Path) -> Result<HashSet<EntryId>, StoreError> {
    let mut ids = HashSet::new();
    read(&state_dir.join("seen"), |left, id, _| {
        if left == Left::Finished {
            ids.insert(id);
        }
        Ok(())
    })?;
    Ok(ids)
}

/// A line that cannot be read is left out: it was torn by a crash, and then its entry is still there; or it was damaged
/// later, which is said.
fn read(
    path: &Path,
    mut take: impl FnMut(Left, EntryId, Option<Once>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let reading = |error| fault(path, "reading the log of what was seen", error);
    let mut log = match File::open(path) {
        Ok(file) => BufReader::with_capacity(64 << 10, file),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(reading(error)),
    };
    let mut line = Vec::new();
    while log.read_until(b'\n', &mut line).map_err(reading)? > 0 {
        let whole = line.strip_suffix(b"\n").and_then(|text| std::str::from_utf8(text).ok());
        match whole.and_then(read_line) {
            Some((left, id, once)) => take(left, id, once)?,
            None if line == b"\n" => {}
            None => {
                tracing::warn!(path = %path.display(), text = %line.escape_ascii(), "no whole line: left out")
            }
        }
        line.clear();
    }
    Ok(())
}

pub(super) fn line(left: Left, id: EntryId, once: Option<&Once>) -> String {
    let left = match left {
        Left::Finished => "finished",
        Left::Damaged => "damaged",
    };
    let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let nonce = dash(once.and_then(|once| once.nonce.as_deref()).unwrap_or_default());
    let hash = dash(once.map(|once| once.digest.as_str()).unwrap_or_default());
    let signatures = dash(&once.map(|once| once.signatures.join(",")).unwrap_or_default());
    let text = format!("1 {left} {id} {hash} {nonce} {signatures}");
    format!("{text} {}\n", check(&text))
}

fn read_line(line: &str) -> Option<(Left, EntryId, Option<Once>)> {
    let (text, last) = line.rsplit_once(' ')?;
    if last != check(text) {
        return None;
    }
    let mut words = text.split(' ');
    let mut word = || words.next().filter(|word| !word.is_empty());
    if word()? != "1" {
        return None;
    }
    let left = match word()? {
        "finished" => Left::Finished,
        "damaged" => Left::Damaged,
        _ => return None,
    };
    let id = EntryId::parse(word()?)?;
    let some = |text: &str| (text != "-").then(|| text.to_owned());
    let (digest, nonce, signatures) = (some(word()?), some(word()?), some(word()?));
    let signatures = signatures.map(|list| list.split(',').map(str::to_owned).collect());
    let once = digest.map(|digest| Once { nonce, digest, signatures: signatures.unwrap_or_default() });
    words.next().is_none().then_some((left, id, once))
}

fn check(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    hash.as_ref().iter().take(4).map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Seen;

    fn once(signatures: &[&str]) -> Once {
        let signatures = signatures.iter().map(|s| s.to_string()).collect();
        Once { nonce: Some("n".into()), digest: "d".into(), signatures }
    }

    #[test]
    fn a_line_behind_a_write_that_failed_half_way_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = Rewrite::begin(dir.path(), 0).unwrap().finish().unwrap();
        (&log.file).write_all(b"1 finis").unwrap();
        let id = EntryId::parse("6b49d200aaaaaaaaaaaa").unwrap();
        log.append(Left::Finished, id, Some(&once(&["s", "t"]))).unwrap();
        let rewrite = Rewrite::begin(dir.path(), 0).unwrap();
        assert!(rewrite.is_finished(id));
        let (_, marks) = rewrite.finish().unwrap();
        assert_eq!(marks.look_up(&once(&["s", "t"]), 5), Seen::Same(id));
    }

    #[test]
    fn a_line_that_is_there_twice_is_kept_once() {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = Rewrite::begin(dir.path(), 0).unwrap().finish().unwrap();
        let id = EntryId::parse("6b49d200aaaaaaaaaaaa").unwrap();
        for _ in 0..2 {
            log.append(Left::Finished, id, Some(&once(&["s"]))).unwrap();
        }
        let read = || std::fs::read_to_string(dir.path().join("seen")).unwrap();
        assert_eq!(read().matches("finished").count(), 2);
        Rewrite::begin(dir.path(), 0).unwrap().finish().unwrap();
        assert_eq!(read(), line(Left::Finished, id, Some(&once(&["s"]))));
    }

    #[test]
    fn a_line_that_is_cut_or_changed_anywhere_says_nothing() {
        let id = EntryId::parse("6b49d200aaaaaaaaaaaa").unwrap();
        for once in [None, Some(once(&["s", "t"]))] {
            let whole = line(Left::Finished, id, once.as_ref());
            let whole = whole.trim_end();
            assert_eq!(read_line(whole), Some((Left::Finished, id, once)));
            for at in 0..whole.len() {
                assert_eq!(read_line(&whole[..at]), None, "{at}");
                let mut changed = whole.as_bytes().to_vec();
                changed[at] ^= 1;
                assert_eq!(read_line(std::str::from_utf8(&changed).unwrap()), None, "{at}");
            }
        }
    }
}
