//! What a pull says: a progress bar on a terminal, a line for each mailbox that got something, or JSON.

use super::Options;
use crate::error::{Exit, Failure};
use indicatif::{BinaryBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

/// What came from one server, and what went wrong.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub mailboxes: Vec<Tally>,
    /// Names that were asked for and are not there.
    pub unknown: Vec<String>,
    /// What could not be done, without stopping the rest.
    pub troubles: Vec<String>,
    /// What ended the session early.
    pub failure: Option<Failure>,
}

/// One mailbox in one pull.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub address: String,
    /// The Maildir at home; empty if no letter came.
    pub directory: PathBuf,
    /// Letters that came.
    pub letters: u64,
    /// Their octets.
    pub octets: u64,
    /// Letters that were at home already: a pull was interrupted before it could say so.
    pub again: u64,
    /// Letters that the server had when it was asked.
    pub listed: u64,
}

impl Tally {
    /// Letters that are still on the server.
    fn left(&self) -> u64 {
        self.listed.saturating_sub(self.letters).saturating_sub(self.again)
    }
}

/// All servers of a run.
#[derive(Debug, Default)]
pub(super) struct Report {
    servers: Vec<(String, Outcome)>,
}

impl Report {
    pub fn server(&mut self, name: &str, outcome: Outcome) {
        self.servers.push((name.to_owned(), outcome));
    }

    /// How many letters came.
    pub fn letters(&self) -> u64 {
        self.tallies().map(|tally| tally.letters).sum()
    }

    /// The Maildirs that got letters.
    pub fn directories(&self) -> Vec<PathBuf> {
        let got = self.tallies().filter(|tally| tally.letters > 0);
        let mut directories: Vec<PathBuf> = got.map(|tally| tally.directory.clone()).collect();
        directories.sort();
        directories.dedup();
        directories
    }

    /// The result on stdout, troubles on stderr.
    pub fn print(&self, options: &Options) -> Result<(), Failure> {
        for (name, outcome) in &self.servers {
            for trouble in &outcome.troubles {
                eprintln!("pillarbox: {name}: {trouble}");
            }
        }
        let text = if options.json { self.json() + "\n" } else { self.lines(options.verbose) };
        std::io::stdout()
            .write_all(text.as_bytes())
            .map_err(|error| Failure::new(Exit::IoErr, format!("stdout: {error} (the letters are safe)")))
    }

    /// The run's end: what failed, in one line.
    pub fn verdict(self) -> Result<(), Failure> {
        let troubles: usize = self.servers.iter().map(|(_, outcome)| outcome.troubles.len()).sum();
        let unknown = self.unknown().join(", ");
        let failures = self.servers.into_iter().filter_map(|(_, outcome)| outcome.failure);
        let mut messages: Vec<String> = failures.map(|failure| failure.message).collect();
        if messages.is_empty() && troubles > 0 {
            messages.push("not everything could be pulled: see above".into());
        }
        // What may be different at the next try comes first.
        match (messages.is_empty(), unknown.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => {
                Err(Failure::new(Exit::NoUser, format!("pull: no server has such an address: {unknown}")))
            }
            (false, _) => Err(Failure::new(Exit::TempFail, format!("pull: {}", messages.join("; ")))),
        }
    }

    /// Names that no server has: each of them said so.
    fn unknown(&self) -> Vec<&str> {
        let Some(((_, first), others)) = self.servers.split_first() else { return Vec::new() };
        let names =
            first.unknown.iter().filter(|name| others.iter().all(|(_, it)| it.unknown.contains(name)));
        names.map(String::as_str).collect()
    }

    fn tallies(&self) -> impl Iterator<Item = &Tally> {
        self.servers.iter().flat_map(|(_, outcome)| &outcome.mailboxes)
    }

    fn lines(&self, verbose: bool) -> String {
        let mut text = String::new();
        for tally in self.tallies() {
            let left = tally.left();
            if tally.letters + tally.again + left == 0 && !verbose {
                continue;
            }
            let letters = if tally.letters == 1 { "letter" } else { "letters" };
            let size = BinaryBytes(tally.octets);
            text += &format!("{} {letters} for {} ({size}), {left} left", tally.letters, tally.address);
            if tally.again > 0 {
                text += &format!(", {} were here already", tally.again);
            }
            text.push('\n');
        }
        if text.is_empty() && verbose {
            text.push_str("no mailboxes\n");
        }
        text
    }

    fn json(&self) -> String {
        let servers: Vec<serde_json::Value> =
            self.servers.iter().map(|(name, outcome)| server(name, outcome)).collect();
        let ok = self.servers.iter().all(|(_, outcome)| is_ok(outcome)) && self.unknown().is_empty();
        serde_json::json!({ "letters": self.letters(), "servers": servers, "ok": ok }).to_string()
    }
}

fn is_ok(outcome: &Outcome) -> bool {
    outcome.failure.is_none() && outcome.troubles.is_empty()
}

fn server(name: &str, outcome: &Outcome) -> serde_json::Value {
    let mailboxes: Vec<serde_json::Value> = outcome.mailboxes.iter().map(mailbox).collect();
    serde_json::json!({
        "server": name,
        "ok": is_ok(outcome),
        "error": outcome.failure.as_ref().map(|failure| &failure.message),
        "unknown": outcome.unknown,
        "troubles": outcome.troubles,
        "mailboxes": mailboxes,
    })
}

fn mailbox(tally: &Tally) -> serde_json::Value {
    serde_json::json!({
        "address": tally.address,
        "directory": (tally.letters > 0).then_some(&tally.directory),
        "letters": tally.letters,
        "octets": tally.octets,
        "again": tally.again,
        "left": tally.left(),
    })
}

/// A bar on stderr, where that is a terminal.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub fn new(server: &str) -> Progress {
        if !std::io::stderr().is_terminal() {
            return Progress { bar: ProgressBar::hidden() };
        }
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {bytes}/{total_bytes} {eta}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_prefix(server.to_owned());
        Progress { bar }
    }

    /// So much more will come.
    pub fn expect(&self, octets: u64) {
        self.bar.inc_length(octets);
    }

    /// A letter has come.
    pub fn letter(&self, octets: u64) {
        self.bar.inc(octets);
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
