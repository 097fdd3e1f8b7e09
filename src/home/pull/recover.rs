//! Finishes what an interrupted pull had in hand, before anything new begins.

use super::commit::fsync_each;
use super::fault;
use super::journal::{Intent, IntentLetter, Journal, Key, MailboxId};
use super::maildir::{Maildir, appear};
use super::places::{Places, Staging};
use crate::error::{Exit, Failure};
use rustix::fs::{AtFlags, fsync, statat, unlinkat};
use std::collections::BTreeMap;
use std::sync::Arc;

/// For each letter that was about to appear: staged file there, make it appear; gone, it has. Then empties the
/// staging directories: what else is in them was not promised to anybody, and the server still has it.
pub(super) fn recover(places: &mut Places, journal: &mut Journal) -> Result<(), Failure> {
    let intents = journal.intents().to_vec();
    let mut touched = Vec::new();
    let mut done: BTreeMap<MailboxId, Vec<Key>> = BTreeMap::new();
    for intent in &intents {
        let (staging, maildir) = find(places, journal, intent)?;
        for letter in &intent.letters {
            finish(&staging, &maildir, letter)?;
            done.entry(intent.mailbox).or_default().push(letter.key);
        }
        touched.push((staging, maildir));
    }
    for (staging, maildir) in &touched {
        fsync_each([&maildir.new, &maildir.cur, &staging.handle].into_iter())?;
    }
    journal.done(done)?;
    places.recovered()
}

/// The directories that the intent names. A staging directory that is missing, or another one, proves nothing of the
/// letters in it: its disk may not be mounted, so nothing is concluded.
fn find(
    places: &mut Places,
    journal: &Journal,
    intent: &Intent,
) -> Result<(Arc<Staging>, Arc<Maildir>), Failure> {
    match places.staging_at(&intent.staging, intent.inode, &intent.maildir)? {
        Some(staging) => Ok((staging, places.maildir(&intent.maildir)?)),
        None => Err(Failure::new(
            Exit::TempFail,
            format!(
                "{}: this staging directory of an interrupted pull is not there: mount its disk; if that is gone for \
                 good, remove {} (letters of that moment, still on the server, may then come twice)",
                intent.staging.display(),
                journal.path().display()
            ),
        )),
    }
}

fn finish(staging: &Staging, maildir: &Maildir, letter: &IntentLetter) -> Result<(), Failure> {
    let failed = |error: rustix::io::Errno| fault(staging.path.join(&letter.staged).display(), error);
    let inode = match statat(&staging.handle, &letter.staged, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat.st_ino,
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    // After a power cut a rename can have left both names, and a reader may have moved the letter on since.
    if maildir.holds(inode)? {
        fsync(&maildir.new).and_then(|()| fsync(&maildir.cur)).map_err(failed)?;
        return unlinkat(&staging.handle, &letter.staged, AtFlags::empty()).map_err(failed);
    }
    let (place, name) = letter.target.split_once('/').unwrap_or(("new", &letter.target));
    let (base, info) = name.split_at(name.find(':').unwrap_or(name.len()));
    loop {
        let target = format!("{place}/{}{info}", maildir.free_base(base)?);
        if appear(&staging.handle, &letter.staged, maildir, &target)? {
            return Ok(());
        }
    }
}
