//! The reader of a session: takes letters from the gate into staging directories and hands them on in batches.
//! Nothing that the gate says is believed: names, numbers, sizes and digests are checked.

use super::commit::{Batch, Staged};
use super::journal::{Key, MailboxId};
use super::maildir::{Maildir, is_name, random};
use super::places::{Label, Places, Staging};
use super::report::{Progress, Tally};
use super::sync::Pool;
use crate::net::export::{FrameReader, FromServer, LetterHead, VERSION, WireError};
use crate::smtp::reply::printable;
use aws_lc_rs::digest;
use rustix::fs::{Advice, AtFlags, Mode, OFlags, fadvise, openat, unlinkat};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU64;
use std::sync::{Arc, mpsc};

/// A batch is full at so many letters,
const BATCH_LETTERS: usize = 512;
/// or so many octets.
const BATCH_OCTETS: u64 = 64 << 20;
/// More mailboxes than this are not believed.
const MOST_MAILBOXES: usize = 65_536;

/// A name of three parts is far shorter; a longer one is not remembered.
const LONGEST_LABEL: usize = 1024;
/// More troubles than this are not remembered.
const MOST_TROUBLES: usize = 1000;
/// How much of a server's words is shown.
const WORDS: usize = 500;

/// Why receiving ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReceiveError {
    /// The gate cannot be understood, or is gone.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The gate says why it cannot go on.
    #[error("the server says: {0}")]
    Fault(String),
    /// The other version.
    #[error(
        "the server speaks version {0} of the pull protocol, this pillarbox {VERSION}: install the same on both"
    )]
    Version(u16),
    /// A fault here.
    #[error("{0}")]
    Home(#[from] crate::error::Failure),
    /// The committer has stopped; it knows why.
    #[error("the letters could not be stored")]
    Stopped,
}

/// What a session learns from the gate.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// By the mailbox's index.
    pub mailboxes: Vec<Mailbox>,
    /// Names that were asked for and are not on this server.
    pub unknown: Vec<String>,
    /// What the gate or the reader could not do, for the user.
    pub troubles: Vec<String>,
    /// Keys of letters that the gate has removed.
    pub removed: Vec<Key>,
    /// Keys of all letters that came whole.
    pub offered: HashSet<Key>,
    /// Whether the gate has said everything.
    pub complete: bool,
}

/// A mailbox of the session.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub id: MailboxId,
    pub tally: Tally,
    label: Option<Label>,
    home: Option<(Arc<Maildir>, Arc<Staging>)>,
}

/// The reader.
pub(super) struct Receiver<'a> {
    pub places: &'a mut Places,
    /// The addresses that the gate was asked for.
    pub asked: &'a [String],
    /// Keys that are at home, or on their way through the committer.
    pub known: HashSet<Key>,
    /// Keys that were at home once, and were removed from the server.
    pub remembered: HashSet<Key>,
    /// Nothing once all batches are handed on.
    pub batches: Option<mpsc::SyncSender<Batch>>,
    pub pool: Pool,
    pub progress: Progress,
    pub received: &'a mut Received,
    pub state: State,
}

/// Where the reader is in the session.
#[derive(Default)]
pub(super) struct State {
    server: Option<String>,
    listed: bool,
    sent: bool,
    next: u64,
    session: u64,
    batch: Batch,
    open: Option<Incoming>,
    unconfirmed: HashMap<u64, Key>,
}

/// A letter that is arriving.
struct Incoming {
    head: LetterHead,
    got: u64,
    hash: digest::Context,
    /// Nothing where the letter cannot be taken: it is read, and not acknowledged.
    into: Option<(File, String)>,
}

impl Receiver<'_> {
    /// Receives until the gate says goodbye. What came whole before an error is handed on as well.
    pub fn run(mut self, gate: impl Read) -> Result<(), ReceiveError> {
        self.state.session = random();
        let result = self.session(FrameReader::new(gate));
        if let Some(Incoming { head, into: Some((_, name)), .. }) = self.state.open.take() {
            self.discard(head.mailbox, &name);
        }
        let handed_on = self.hand_on();
        self.progress.finish();
        result.and(handed_on)
    }

    fn session(&mut self, mut frames: FrameReader<impl Read>) -> Result<(), ReceiveError> {
        loop {
            if self.frame(frames.server_frame()?)? {
                self.received.complete = true;
                return Ok(());
            }
        }
    }

    /// Whether this was the last frame.
    fn frame(&mut self, frame: FromServer<'_>) -> Result<bool, ReceiveError> {
        if self.state.server.is_none() && !matches!(frame, FromServer::Hello { .. } | FromServer::Fault(_)) {
            return Err(WireError::Order("a greeting comes first").into());
        }
        if self.state.open.is_some() && !frame.belongs_to_a_letter() {
            return Err(WireError::Order("a letter was not ended").into());
        }
        match frame {
            FromServer::Hello { version, server, hostname: _ } => self.hello(version, server)?,
            FromServer::Mailbox { label, letters, octets } => self.mailbox(label, letters, octets)?,
            FromServer::Listed => self.state.listed = true,
            FromServer::Letter(head) => self.letter(head)?,
            FromServer::Chunk(bytes) => self.chunk(bytes)?,
            FromServer::Whole(digest) => self.whole(&digest)?,
            FromServer::Dropped(reason) => self.dropped(reason)?,
            FromServer::Sent => {
                self.state.sent = true;
                self.hand_on()?;
                // The committer can tell the gate that nothing more will come.
                self.batches = None;
            }
            FromServer::Removed(numbers) => {
                let keys = numbers.iter().filter_map(|number| self.state.unconfirmed.remove(number));
                self.received.removed.extend(keys);
            }
            FromServer::Unknown(name) => self.unknown(name)?,
            FromServer::Trouble(text) => self.trouble(text),
            FromServer::Fault(text) => return Err(ReceiveError::Fault(printable(&text, WORDS))),
            FromServer::Bye if self.state.sent => return Ok(true),
            FromServer::Bye => return Err(WireError::Order("the gate said goodbye too early").into()),
        }
        Ok(false)
    }

    fn hello(&mut self, version: u16, server: String) -> Result<(), ReceiveError> {
        if self.state.server.is_some() {
            return Err(WireError::Order("a second greeting").into());
        }
        if version != VERSION {
            return Err(ReceiveError::Version(version));
        }
        if server.len() != 32 || !server.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(WireError::Malformed("the server's identity").into());
        }
        self.state.server = Some(server);
        Ok(())
    }

    fn mailbox(&mut self, text: String, letters: u64, octets: u64) -> Result<(), ReceiveError> {
        if self.state.listed || self.received.mailboxes.len() >= MOST_MAILBOXES {
            return Err(WireError::Order("a mailbox too many").into());
        }
        if text.len() > LONGEST_LABEL {
            return Err(WireError::Malformed("the name of a mailbox").into());
        }
        let label = Label::parse(&text);
        if label.is_none() {
            self.trouble(format!("{text:?} is no name of a mailbox: its letters stay on the server"));
        }
        self.progress.expect(octets);
        let id = MailboxId::new(self.state.server.as_deref().unwrap_or_default(), &text);
        let address = label.as_ref().map_or_else(|| printable(&text, WORDS), Label::to_string);
        let tally = Tally { address, listed: letters, ..Tally::default() };
        self.received.mailboxes.push(Mailbox { id, tally, label, home: None });
        Ok(())
    }

    fn letter(&mut self, head: LetterHead) -> Result<(), ReceiveError> {
        if !self.state.listed || self.state.sent || head.number != self.state.next {
            return Err(WireError::Order("a letter").into());
        }
        self.state.next += 1;
        let into = self.stage(&head)?;
        let hash = digest::Context::new(&digest::SHA256);
        self.state.open = Some(Incoming { head, got: 0, hash, into });
        Ok(())
    }

    /// A new file for the letter; nothing where its names cannot be had here.
    fn stage(&mut self, head: &LetterHead) -> Result<Option<(File, String)>, ReceiveError> {
        let mailbox = self.received.mailboxes.get_mut(head.mailbox as usize);
        let mailbox = mailbox.ok_or(WireError::Malformed("a letter of no mailbox"))?;
        let Some(label) = &mailbox.label else { return Ok(None) };
        if !is_name(&head.base, &head.flags) {
            let name = format!("{}:2,{}", head.base, head.flags);
            let text = format!(
                "{}: {name:?} is no file name: the letter stays on the server",
                mailbox.tally.address
            );
            self.trouble(text);
            return Ok(None);
        }
        let (_, staging) = match &mailbox.home {
            Some(home) => home,
            None => {
                let maildir = self.places.maildir_of(label)?;
                let staging = self.places.staging_for(&maildir)?;
                mailbox.tally.directory.clone_from(&maildir.path);
                mailbox.home.insert((maildir, staging))
            }
        };
        let name = format!("{:016x}-{}", self.state.session, head.number);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(&staging.handle, &name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| super::fault(staging.path.join(&name).display(), error))?;
        Ok(Some((File::from(file), name)))
    }

    fn chunk(&mut self, bytes: &[u8]) -> Result<(), ReceiveError> {
        let incoming = self.state.open.as_mut().ok_or(WireError::Order("octets of no letter"))?;
        incoming.got += bytes.len() as u64;
        if incoming.got > incoming.head.size {
            return Err(WireError::Malformed("a letter longer than it said").into());
        }
        if let Some((file, name)) = &mut incoming.into {
            incoming.hash.update(bytes);
            file.write_all(bytes).map_err(|error| super::fault(format!("staging {name}"), error))?;
        }
        Ok(())
    }

    fn whole(&mut self, digest: &[u8; 32]) -> Result<(), ReceiveError> {
        let incoming = self.state.open.take().ok_or(WireError::Order("the end of no letter"))?;
        let Incoming { head, got, hash, into } = incoming;
        self.progress.letter(got);
        let Some((file, name)) = into else { return Ok(()) };
        if got != head.size || hash.finish().as_ref() != digest {
            self.discard(head.mailbox, &name);
            return Err(WireError::Malformed("a letter that does not match its digest").into());
        }
        let index = head.mailbox as usize;
        let Some(mailbox) = self.received.mailboxes.get_mut(index) else { return Err(ReceiveError::Stopped) };
        let key = Key::new(mailbox.id, &head.base, digest);
        self.received.offered.insert(key);
        self.state.unconfirmed.insert(head.number, key);
        // One that comes back after its removal: a copy that a server made again after a crash; or its owner has put it
        // back there, and then it may be nowhere else.
        let is_held = match &mailbox.home {
            Some((maildir, _)) if self.remembered.contains(&key) => maildir.held(&head.base)?,
            _ => false,
        };
        if !self.known.insert(key) || is_held {
            mailbox.tally.again += 1;
            self.state.batch.again.push(head.number);
            self.discard(head.mailbox, &name);
        } else if let Some((maildir, staging)) = &mailbox.home {
            start_writing(&file, got);
            self.pool
                .flush(file, &self.state.batch.flushes)
                .map_err(|error| super::fault("writing a letter", error))?;
            self.state.batch.octets += got;
            self.state.batch.letters.push(Staged {
                number: head.number,
                size: got,
                key,
                mailbox: mailbox.id,
                index,
                name,
                staging: staging.clone(),
                maildir: maildir.clone(),
                in_cur: head.in_cur,
                base: head.base,
                flags: head.flags,
            });
        }
        let batch = &self.state.batch;
        if batch.letters.len() + batch.again.len() >= BATCH_LETTERS || batch.octets >= BATCH_OCTETS {
            self.hand_on()?;
        }
        Ok(())
    }

    fn dropped(&mut self, reason: String) -> Result<(), ReceiveError> {
        let incoming = self.state.open.take().ok_or(WireError::Order("the end of no letter"))?;
        if let Some((_, name)) = &incoming.into {
            self.discard(incoming.head.mailbox, name);
        }
        if !reason.is_empty() {
            self.trouble(reason);
        }
        Ok(())
    }

    fn hand_on(&mut self) -> Result<(), ReceiveError> {
        let batch = std::mem::take(&mut self.state.batch);
        if batch.letters.is_empty() && batch.again.is_empty() {
            return Ok(());
        }
        let batches = self.batches.as_ref().ok_or(ReceiveError::Stopped)?;
        batches.send(batch).map_err(|_| ReceiveError::Stopped)
    }

    /// Removes a staged file. One that stays is swept by the next pull.
    fn discard(&self, mailbox: u32, name: &str) {
        let mailbox = self.received.mailboxes.get(mailbox as usize);
        if let Some((_, staging)) = mailbox.and_then(|mailbox| mailbox.home.as_ref()) {
            let _ = unlinkat(&staging.handle, name, AtFlags::empty());
        }
    }

    fn unknown(&mut self, name: String) -> Result<(), ReceiveError> {
        if !self.asked.contains(&name) || self.received.unknown.contains(&name) {
            return Err(WireError::Order("an address that was not asked for").into());
        }
        self.received.unknown.push(name);
        Ok(())
    }

    fn trouble(&mut self, text: String) {
        match self.received.troubles.len() {
            0..MOST_TROUBLES => self.received.troubles.push(printable(&text, WORDS)),
            MOST_TROUBLES => self.received.troubles.push("there were more, which are not shown".into()),
            _ => {}
        }
    }
}

impl FromServer<'_> {
    fn belongs_to_a_letter(&self) -> bool {
        matches!(
            self,
            FromServer::Chunk(_) | FromServer::Whole(_) | FromServer::Dropped(_) | FromServer::Fault(_)
        )
    }
}

/// Asks the kernel to begin writing the file out, so that the fsync finds it half done.
///
/// `POSIX_FADV_DONTNEED` begins write-back of every page that the range touches, and then forgets the pages that lie
/// within it whole and are written already; with a range that leaves out the first and the last octet, small letters
/// have no such page.
fn start_writing(file: &File, size: u64) {
    if let Some(length) = NonZeroU64::new(size.saturating_sub(2)) {
        // Only a hint.
        let _ = fadvise(file, 1, Some(length), Advice::DontNeed);
    }
}
