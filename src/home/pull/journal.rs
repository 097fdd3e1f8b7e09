//! The journal of a home: which letters are about to appear in a Maildir, and which are there.
//!
//! One JSON record per line, appended and fsynced. A line that cannot be read was never fsynced (a crash tore it), so
//! nothing rests on it. At start the state is read; where most of the file is past, it is written anew.

use super::fault;
use crate::error::{Exit, Failure};
use aws_lc_rs::digest;
use rustix::fs::{Mode, OFlags, openat, renameat};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const NAME: &str = "journal";
const VERSION: u32 = 1;
/// Keys whose removal was confirmed are remembered this long, in seconds: a server that delivers a local copy again
/// after a crash uses the same name again.
const REMEMBER: u64 = 30 * 24 * 3600;
/// And at most so many of them.
const REMEMBER_AT_MOST: usize = 100_000;

/// What tells one letter from all others: server, mailbox, base name and digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Key(u128);

impl Key {
    pub fn new(mailbox: MailboxId, base: &str, content: &[u8; 32]) -> Key {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(&mailbox.0.to_be_bytes());
        hash.update(content);
        hash.update(base.as_bytes());
        Key(first_16(hash))
    }
}

/// A mailbox of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct MailboxId(u128);

impl MailboxId {
    pub fn new(server: &str, label: &str) -> MailboxId {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(server.as_bytes());
        hash.update(b"\0");
        hash.update(label.as_bytes());
        MailboxId(first_16(hash))
    }
}

fn first_16(hash: digest::Context) -> u128 {
    hash.finish().as_ref().iter().take(16).fold(0, |number, octet| number << 8 | u128::from(*octet))
}

/// Letters about to be renamed from one staging directory into one Maildir.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Intent {
    /// The server's mailbox.
    pub mailbox: MailboxId,
    /// The staging directory.
    pub staging: PathBuf,
    /// Its inode: another directory at this path says nothing about the letters.
    pub inode: u64,
    /// The Maildir.
    pub maildir: PathBuf,
    /// The letters.
    pub letters: Vec<IntentLetter>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IntentLetter {
    pub key: Key,
    /// Its name in the staging directory.
    pub staged: String,
    /// `new/NAME` or `cur/NAME`.
    pub target: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Record {
    Version(u32),
    Intent(Intent),
    Done { mailbox: MailboxId, keys: Vec<Key> },
    Settled { at: u64, keys: Vec<Key> },
}

#[derive(Debug)]
pub(super) struct Journal {
    directory: OwnedFd,
    path: PathBuf,
    file: File,
    state: State,
    /// Writing failed: the last line may be torn, and a line after it would be unreadable with it.
    broken: bool,
}

#[derive(Debug, Default)]
struct State {
    /// Intents not known to be done.
    intents: Vec<Intent>,
    /// Done, and not known to be removed from the server: kept without limit of time.
    waiting: HashMap<Key, MailboxId>,
    /// Done and removed, and when.
    settled: HashMap<Key, u64>,
}

impl Journal {
    /// Reads the journal in `directory`, or makes one.
    pub fn open((directory, path): (&OwnedFd, PathBuf)) -> Result<Journal, Failure> {
        let path = path.join(NAME);
        let failed = |error: std::io::Error| fault(path.display(), error);
        let directory = directory.try_clone().map_err(failed)?;
        let text = match openat(&directory, NAME, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(file) => {
                let mut text = Vec::new();
                File::from(file).read_to_end(&mut text).map_err(failed)?;
                text
            }
            Err(rustix::io::Errno::NOENT) => Vec::new(),
            Err(error) => return Err(failed(error.into())),
        };
        let (mut state, wasteful) = State::read(&text).map_err(|version| {
            let text = format!("{}: written by a newer pillarbox (version {version})", path.display());
            Failure::new(Exit::Config, text)
        })?;
        let file = if wasteful {
            state.forget(now());
            state.write_anew(&directory).map_err(failed)?
        } else {
            let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC;
            File::from(openat(&directory, NAME, flags, Mode::empty()).map_err(|error| failed(error.into()))?)
        };
        Ok(Journal { directory, path, file, state, broken: false })
    }

    /// Its file's name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What an interrupted pull had in hand.
    pub fn intents(&self) -> &[Intent] {
        &self.state.intents
    }

    /// The keys that are at home and not known to be removed from the server.
    pub fn known(&self) -> impl Iterator<Item = Key> {
        self.state.waiting.keys().copied()
    }

    /// The keys that were at home, and whose removal the server has confirmed.
    pub fn remembered(&self) -> impl Iterator<Item = Key> {
        self.state.settled.keys().copied()
    }

    /// The keys of a mailbox that are at home and not known to be removed from the server.
    pub fn waiting(&self, mailbox: MailboxId) -> Vec<Key> {
        let of = self.state.waiting.iter().filter(|(_, of)| **of == mailbox);
        of.map(|(key, _)| *key).collect()
    }

    /// Notes what is about to happen, durable.
    pub fn intend(&mut self, intents: Vec<Intent>) -> Result<(), Failure> {
        self.append(intents.into_iter().map(Record::Intent), true)
    }

    /// Notes what has happened, durable.
    pub fn done(&mut self, keys: impl IntoIterator<Item = (MailboxId, Vec<Key>)>) -> Result<(), Failure> {
        self.append(keys.into_iter().map(|(mailbox, keys)| Record::Done { mailbox, keys }), true)
    }

    /// Notes that the server has removed these, of which only those count that are done: the server's word makes no
    /// letter be at home. Not fsynced: forgetting it costs a line, no letter.
    pub fn settled(&mut self, keys: impl IntoIterator<Item = Key>) -> Result<(), Failure> {
        let keys: Vec<Key> = keys.into_iter().filter(|key| self.state.waiting.contains_key(key)).collect();
        match keys.is_empty() {
            true => Ok(()),
            false => self.append([Record::Settled { at: now(), keys }], false),
        }
    }

    fn append(&mut self, records: impl IntoIterator<Item = Record>, durable: bool) -> Result<(), Failure> {
        if self.broken {
            return Err(fault(self.path.display(), std::io::Error::other("writing it failed before")));
        }
        let records: Vec<Record> = records.into_iter().collect();
        let written = (|| {
            let mut text = Vec::new();
            records.iter().try_for_each(|record| line(&mut text, record))?;
            self.file.write_all(&text)?;
            if durable { self.file.sync_all() } else { Ok(()) }
        })();
        match written {
            Ok(()) => records.into_iter().for_each(|record| self.state.apply(record)),
            Err(error) => {
                self.broken = true;
                return Err(fault(self.path.display(), error));
            }
        }
        Ok(())
    }
}

impl Drop for Journal {
    /// Prunes: after a good run few lines are left of many.
    fn drop(&mut self) {
        // What fails here is done at the next start.
        if !self.broken
            && let Ok(length) = self.file.metadata().map(|file| file.len())
            && self.state.is_wasteful(length)
        {
            self.state.forget(now());
            let _ = self.state.write_anew(&self.directory);
        }
    }
}

impl State {
    /// The state, and whether the file should be written anew (it is missing, torn or mostly past).
    fn read(text: &[u8]) -> Result<(State, bool), u32> {
        let mut state = State::default();
        let mut torn = !text.ends_with(b"\n");
        for line in text.split(|octet| *octet == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(Record::Version(version)) if version > VERSION => return Err(version),
                Ok(record) => state.apply(record),
                Err(_) => torn = true,
            }
        }
        let wasteful = torn || state.is_wasteful(text.len() as u64);
        Ok((state, wasteful))
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Version(_) => {}
            Record::Intent(intent) => self.intents.push(intent),
            Record::Done { mailbox, keys } => {
                let done: std::collections::HashSet<Key> = keys.iter().copied().collect();
                for intent in &mut self.intents {
                    intent.letters.retain(|letter| !done.contains(&letter.key));
                }
                self.intents.retain(|intent| !intent.letters.is_empty());
                self.waiting.extend(keys.into_iter().map(|key| (key, mailbox)));
            }
            Record::Settled { at, keys } => {
                for key in keys {
                    self.waiting.remove(&key);
                    self.settled.insert(key, at);
                }
            }
        }
    }

    /// Whether a file of `length` octets holds much more than this state needs: some 40 octets a key.
    fn is_wasteful(&self, length: u64) -> bool {
        let needed = 40 * (self.waiting.len() + self.settled.len()) as u64;
        length > (64 << 10) + 2 * needed
    }

    /// Drops what was settled long ago, or is one too many.
    fn forget(&mut self, now: u64) {
        self.settled.retain(|_, at| at.saturating_add(REMEMBER) > now);
        if self.settled.len() > REMEMBER_AT_MOST {
            let mut by_age: Vec<(u64, Key)> = self.settled.iter().map(|(key, at)| (*at, *key)).collect();
            by_age.sort_unstable();
            for (_, key) in by_age.iter().take(by_age.len() - REMEMBER_AT_MOST) {
                self.settled.remove(key);
            }
        }
    }

    /// Writes a new journal beside the old one, durable, and puts it in its place.
    fn write_anew(&self, directory: &OwnedFd) -> std::io::Result<File> {
        const BESIDE: &str = "journal.new";
        let mut text = Vec::new();
        line(&mut text, &Record::Version(VERSION))?;
        for intent in &self.intents {
            line(&mut text, &Record::Intent(intent.clone()))?;
        }
        for (mailbox, keys) in grouped(self.waiting.iter().map(|(key, mailbox)| (*mailbox, *key))) {
            line(&mut text, &Record::Done { mailbox, keys })?;
        }
        for (at, keys) in grouped(self.settled.iter().map(|(key, at)| (*at, *key))) {
            line(&mut text, &Record::Settled { at, keys })?;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::APPEND | OFlags::CLOEXEC;
        let mut file = File::from(openat(directory, BESIDE, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(&text)?;
        file.sync_all()?;
        renameat(directory, BESIDE, directory, NAME)?;
        rustix::fs::fsync(directory.as_fd())?;
        Ok(file)
    }
}

fn grouped<K: Ord, V>(pairs: impl Iterator<Item = (K, V)>) -> std::collections::BTreeMap<K, Vec<V>> {
    let mut groups = std::collections::BTreeMap::new();
    for (group, value) in pairs {
        groups.entry(group).or_insert_with(Vec::new).push(value);
    }
    groups
}

fn line(text: &mut Vec<u8>, record: &Record) -> std::io::Result<()> {
    serde_json::to_writer(&mut *text, record)?;
    text.push(b'\n');
    Ok(())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// 32 hexadecimal digits.
fn parse_hex(text: &str) -> Result<u128, &'static str> {
    match text.len() == 32 && text.bytes().all(|octet| octet.is_ascii_hexdigit()) {
        true => u128::from_str_radix(text, 16).map_err(|_| "not hexadecimal"),
        false => Err("not 32 hexadecimal digits"),
    }
}

impl TryFrom<String> for Key {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Key, &'static str> {
        parse_hex(&text).map(Key)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> String {
        format!("{:032x}", key.0)
    }
}

impl TryFrom<String> for MailboxId {
    type Error = &'static str;
    fn try_from(text: String) -> Result<MailboxId, &'static str> {
        parse_hex(&text).map(MailboxId)
    }
}

impl From<MailboxId> for String {
    fn from(mailbox: MailboxId) -> String {
        format!("{:032x}", mailbox.0)
    }
}

#[cfg(test)]
mod tests;
