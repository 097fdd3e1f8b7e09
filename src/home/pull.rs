//! `pillarbox pull`: brings the letters home and removes them from the server, none lost, none twice
//! (`docs/states.md` has every state on disk and its recovery).

mod commit;
mod journal;
mod maildir;
mod places;
mod receive;
mod recover;
mod report;
mod session;
mod sync;

use crate::config;
use crate::error::{Exit, Failure};
use crate::home::child;
use crate::system;
use journal::Journal;
use places::Places;
use report::Report;
use std::path::PathBuf;
use std::process::Command;

/// What was asked for on the command line.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The wanted addresses; empty: all.
    pub addresses: Vec<String>,
    /// Print the result as JSON.
    pub json: bool,
    /// Say it even if nothing came.
    pub verbose: bool,
}

/// One run over all servers. What came is printed on stdout, what went wrong on stderr; a server that fails does not
/// stop the others, and is the run's failure (75) after them.
pub fn run(config: &config::Home, options: &Options) -> Result<(), Failure> {
    let servers = child::servers(config, child::Verb::Export)?;
    let mut home = Home::open(config)?;
    let mut report = Report::default();
    for server in servers {
        let outcome = session::pull(&mut home, &server, &options.addresses);
        report.server(&server.name, outcome);
    }
    report.print(options)?;
    if let Some(problem) = after_pull(&config.after_pull, &report) {
        eprintln!("pillarbox: after_pull: {problem} (the letters are safe)");
    }
    report.verdict()
}

/// Everything on disk that a pull owns while it runs: the lock, the journal, the staging directories.
struct Home {
    places: Places,
    journal: Journal,
}

impl Home {
    /// Locks, reads the journal, and finishes what an interrupted pull left.
    fn open(config: &config::Home) -> Result<Home, Failure> {
        // A batch of letters is open at once while it waits for its fsyncs.
        system::files::raise_limit();
        let mut places = Places::open(config)?;
        let mut journal = Journal::open(places.own())?;
        recover::recover(&mut places, &mut journal)?;
        Ok(Home { places, journal })
    }
}

/// Runs the hook if something came, and says why it failed.
fn after_pull(command: &[String], report: &Report) -> Option<String> {
    let (program, arguments) = command.split_first()?;
    let letters = report.letters();
    if letters == 0 {
        return None;
    }
    let directories: Vec<PathBuf> = report.directories();
    let directories = match std::env::join_paths(&directories) {
        Ok(joined) => joined,
        Err(error) => return Some(error.to_string()),
    };
    let status = Command::new(program)
        .args(arguments)
        .env("PILLARBOX_LETTERS", letters.to_string())
        .env("PILLARBOX_MAILDIRS", directories)
        .status();
    match status {
        Ok(status) if status.success() => None,
        Ok(status) => Some(format!("{program}: {status}")),
        Err(error) => Some(format!("{program}: {error}")),
    }
}

/// A fault of the system at home, with what was being done: temporary, as everything unexpected is.
fn fault(context: impl std::fmt::Display, error: impl Into<std::io::Error>) -> Failure {
    Failure::new(Exit::TempFail, format!("{context}: {}", error.into()))
}

#[cfg(test)]
mod tests;
