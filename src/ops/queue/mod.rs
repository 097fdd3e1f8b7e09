//! `queue`: what did not leave yet, and what the owner wants done with it, on a running server and on a stopped one.

mod order;
mod show;
mod table;

pub use order::{Chosen, order};
pub use show::{message, show};

use super::become_owner;
use crate::config::Server;
use crate::error::{Exit, Failure};
use crate::net::waiting::{Line, VERSION};
use crate::queue::select::{Selection, Word};
use crate::queue::{Entry, EntryId, Queue, RecipientState};
use crate::relay::waiting::{Audience, Closures, tell};
use crate::server::control::ask;
use crate::store::StoreError;
use std::io::{self, BufWriter, ErrorKind, Write};
use table::Table;

/// `queue list`: a line for each recipient who waits, and a sum. `words` select; none: everything.
pub fn list(config: &Server, words: &[String], json: bool) -> Result<(), Failure> {
    let selection = parse(words)?;
    become_owner(config)?;
    let now = jiff::Timestamp::now().as_second();
    let closures = closures(config, now);
    let style = if json { Style::Json } else { Style::Text(Table::for_stdout(now, closures.is_some())) };
    let out = BufWriter::new(io::stdout().lock());
    let mut reader = Reader { selection, style, out, failed: None };
    reader.hear(Line::Queue { version: VERSION, server: config.hostname.clone() });
    let look = Queue::look(&config.state_dir);
    tell(&look, &closures.unwrap_or_default(), &mut reader).map_err(faulty)?;
    let flushed = reader.out.flush();
    match reader.failed.map_or(flushed, Err) {
        // A reader that went away (`| head`) has seen enough.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::IoErr, format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// What the running server says of its destinations; none: no server runs, which leaves none alone.
fn closures(config: &Server, now: i64) -> Option<Closures> {
    match ask::destinations(&config.state_dir) {
        Ok(destinations) => destinations.map(|destinations| Closures::at(now, destinations)),
        Err(failure) => {
            eprintln!("pillarbox: {failure}; when destinations are tried again is not shown");
            Some(Closures::default())
        }
    }
}

/// Who typed `queue list`.
struct Reader<W> {
    selection: Selection,
    style: Style,
    out: W,
    failed: Option<io::Error>,
}

enum Style {
    Json,
    Text(Table),
}

impl<W: Write> Audience for Reader<W> {
    fn wants(&mut self, entry: &Entry, state: &RecipientState) -> Result<bool, StoreError> {
        Ok(self.selection.covers(entry, state))
    }

    fn wants_unreadable(&mut self, id: &EntryId) -> bool {
        let words = &self.selection.words;
        words.is_empty() || words.iter().any(|word| matches!(word, Word::Entry(wanted) if wanted == id))
    }

    fn hear(&mut self, line: Line) -> bool {
        let written = match &self.style {
            Style::Text(table) => self.out.write_all(table.line(&line).as_bytes()),
            Style::Json => serde_json::to_writer(&mut self.out, &line)
                .map_err(io::Error::from)
                .and_then(|()| self.out.write_all(b"\n")),
        };
        match written {
            Ok(()) => true,
            Err(error) => {
                self.failed = Some(error);
                false
            }
        }
    }
}

fn parse<S: AsRef<str>>(words: &[S]) -> Result<Selection, Failure> {
    Selection::parse(words).map_err(|error| Failure::new(Exit::Usage, error))
}

fn faulty(error: StoreError) -> Failure {
    let denied =
        matches!(&error, StoreError::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied);
    match denied {
        true => Failure::new(Exit::NoPerm, format!("{error}; run it as root, or as the server's user")),
        false => Failure::new(Exit::TempFail, error.to_string()),
    }
}
