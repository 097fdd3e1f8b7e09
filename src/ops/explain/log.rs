//! `explain --log`: a letter's story, from wherever the log is kept.

use super::journal;
use super::line::{Line, is_id};
use super::story::Story;
use crate::error::{Exit, Failure, plainly};
use crate::ops::{print, print_json};
use memchr::memmem;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The longest line that is read, in octets; a longer one is passed over.
const LONGEST_LINE: u64 = 1 << 20;
/// The most ids that one letter is followed under.
const MOST_IDS: usize = 100;
/// How often the log is gone through: a line may name an id that is found to be the letter's only further down.
const MOST_PASSES: usize = 5;

/// What was asked on the command line.
#[derive(Debug)]
pub struct Asked {
    /// An id of the letter: of the door or of the queue.
    pub id: String,
    /// Where the log is: a file, `-` for standard input; none: the journal.
    pub file: Option<PathBuf>,
}

/// Tells the story. 69 where the log does not know the letter, or where there is no log.
pub fn run(asked: &Asked, as_json: bool) -> Result<(), Failure> {
    let id = asked.id.trim().to_ascii_lowercase();
    if !is_id(&id) {
        return Err(Failure::new(Exit::Usage, no_id(&asked.id)));
    }
    let log = match asked.file.as_deref() {
        None => Log::Journal,
        Some(path) if path.as_os_str() == "-" => Log::Once(Box::new(io::stdin().lock()), path),
        Some(path) => Log::open(path)?,
    };
    let (story, hint) = follow(log, &id)?;
    if story.is_empty() {
        return Err(Failure::new(Exit::Unavailable, unknown(&id, asked.file.as_deref(), hint)));
    }
    match as_json {
        true => print_json(&story.to_json()),
        false => print(&story.to_text()),
    }
}

fn no_id(word: &str) -> String {
    format!(
        "{word:?} is no letter's id (hexadecimal digits, as the reply to the letter, its Received field and `pillarbox \
         queue list` have them); what is known of an address: journalctl -u pillarbox -g ADDRESS"
    )
}

fn unknown(id: &str, file: Option<&Path>, hint: Option<String>) -> String {
    let log =
        file.map_or("the journal of the unit pillarbox".to_owned(), |file| match file.as_os_str() == "-" {
            true => "standard input".to_owned(),
            false => file.display().to_string(),
        });
    let hint = hint.map(|hint| format!(" (journalctl says: {hint})")).unwrap_or_default();
    format!(
        "no line of {log} is about a letter {id}{hint}: the id is mistyped, the letter came to another server, or that \
         part of the log is gone (rotated logs can be given with --log-file)"
    )
}

/// Where the lines come from.
enum Log<'a> {
    Journal,
    File(&'a Path),
    /// What can be read only once.
    Once(Box<dyn BufRead>, &'a Path),
}

impl Log<'_> {
    fn open(path: &Path) -> Result<Log<'_>, Failure> {
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        let again = file.metadata().map_err(|error| unreadable(path, &error))?.is_file();
        Ok(if again { Log::File(path) } else { Log::Once(Box::new(BufReader::new(file)), path) })
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let name = if path.as_os_str() == "-" { "standard input".into() } else { path.display().to_string() };
    Failure::new(Exit::NoInput, format!("{name}: {}", plainly(error)))
}

/// Goes through the log until no further id of the letter is found; the story, and what `journalctl` had to say.
fn follow(mut log: Log<'_>, id: &str) -> Result<(Story, Option<String>), Failure> {
    let mut ids = BTreeSet::from([id.to_owned()]);
    for _ in 1..MOST_PASSES {
        let (known, (story, hint)) = (ids.len(), pass(&mut log, &mut ids)?);
        if ids.len() == known || matches!(log, Log::Once(..)) {
            return Ok((story, hint));
        }
    }
    pass(&mut log, &mut ids)
}

fn pass(log: &mut Log<'_>, ids: &mut BTreeSet<String>) -> Result<(Story, Option<String>), Failure> {
    let mut story = Story::default();
    let hint = match log {
        Log::Journal => {
            let wanted: Vec<String> = ids.iter().cloned().collect();
            journal::read(&wanted, |lines| gather(lines, ids, &mut story))?
        }
        Log::File(path) => {
            let file = File::open(*path).map_err(|error| unreadable(path, &error))?;
            let mut lines = BufReader::with_capacity(64 << 10, file);
            gather(&mut lines, ids, &mut story).map_err(|error| unreadable(path, &error))?;
            None
        }
        Log::Once(lines, path) => {
            gather(lines, ids, &mut story).map_err(|error| unreadable(path, &error))?;
            None
        }
    };
    story.known_as(ids);
    Ok((story, hint))
}

/// Takes the lines that are about the letter, and the ids that they add.
fn gather(lines: &mut dyn BufRead, ids: &mut BTreeSet<String>, story: &mut Story) -> io::Result<()> {
    let mut octets = Vec::new();
    while next(lines, &mut octets)? {
        // Most lines of a large log are about others: they are not taken apart.
        if !ids.iter().any(|id| memmem::find(&octets, id.as_bytes()).is_some()) {
            continue;
        }
        let Some(line) = Line::read(&String::from_utf8_lossy(&octets)) else { continue };
        if !line.ids().any(|id| ids.contains(id)) {
            continue;
        }
        let more = line.ids().map(str::to_owned).take(MOST_IDS.saturating_sub(ids.len()));
        ids.extend(more.collect::<Vec<_>>());
        story.add(line);
    }
    Ok(())
}

/// The next line, empty if it is too long. False at the end.
fn next(lines: &mut dyn BufRead, octets: &mut Vec<u8>) -> io::Result<bool> {
    octets.clear();
    if lines.take(LONGEST_LINE).read_until(b'\n', octets)? == 0 {
        return Ok(false);
    }
    if octets.len() as u64 == LONGEST_LINE && !octets.ends_with(b"\n") {
        octets.clear();
        lines.skip_until(b'\n')?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
