//! What waits in the queue, told line by line: 100,000 letters are never in memory at once.

use super::orders::Destination;
use crate::net::waiting::{Closed, Line, Total, Waiting, words};
use crate::queue::{Entry, EntryId, Look, Looked, RecipientState, State};
use crate::store::StoreError;
use std::collections::HashMap;

/// The destinations that are left alone now.
#[derive(Clone, Debug, Default)]
pub struct Closures {
    by_name: HashMap<String, Closed>,
}

impl Closures {
    /// Those of the relay's destinations that are closed at `now` (Unix seconds).
    pub fn at(now: i64, destinations: Vec<Destination>) -> Closures {
        let closed = destinations.into_iter().filter_map(|destination| {
            let until = destination.closed_until.filter(|until| *until > now)?;
            let Destination { name, reason, .. } = destination;
            Some((name.clone(), Closed { destination: name, until, reason }))
        });
        Closures { by_name: closed.collect() }
    }

    /// The same without their reasons, which may be words about somebody else's letter.
    pub fn discreet(mut self) -> Closures {
        self.by_name.values_mut().for_each(|closed| closed.reason = None);
        self
    }

    /// What a recipient waits for, if that is longer than his own time.
    pub fn of(&self, state: &RecipientState) -> Option<Closed> {
        let closed = self.by_name.get(&state.recipient.address.host().to_string())?;
        (!state.held && closed.until > state.next_attempt).then(|| closed.clone())
    }
}

/// Which letters are told of, and to whom.
pub trait Audience {
    /// Whether a pending recipient is told of.
    fn wants(&mut self, entry: &Entry, state: &RecipientState) -> Result<bool, StoreError>;

    /// Whether a letter is told of that cannot be read.
    fn wants_unreadable(&mut self, id: &EntryId) -> bool;

    /// Takes a line; false: enough.
    fn hear(&mut self, line: Line) -> bool;
}

/// Tells of all that waits, oldest letter first, and then of the sum.
pub fn tell(look: &Look, closures: &Closures, audience: &mut impl Audience) -> Result<(), StoreError> {
    let mut total = Total::default();
    for id in look.entries()? {
        let unreadable = match look.load(id) {
            Ok(None) => continue,
            Ok(Some(Looked::Entry(entry))) => match tell_of(&entry, closures, audience, &mut total)? {
                true => continue,
                false => return Ok(()),
            },
            Ok(Some(Looked::Damaged(why))) => format!("damaged: {why}"),
            Err(error) => error.to_string(),
        };
        if audience.wants_unreadable(&id) {
            total.unreadable += 1;
            if !audience.hear(Line::Unreadable { id: id.to_string(), why: words(&unreadable) }) {
                return Ok(());
            }
        }
    }
    audience.hear(Line::Total(total));
    Ok(())
}

fn tell_of(
    entry: &Entry,
    closures: &Closures,
    audience: &mut impl Audience,
    total: &mut Total,
) -> Result<bool, StoreError> {
    let before = total.recipients;
    for state in &entry.recipients {
        let State::Pending { reason } = &state.state else { continue };
        if !audience.wants(entry, state)? {
            continue;
        }
        total.recipients += 1;
        let waiting = Waiting {
            id: entry.id.to_string(),
            arrived: entry.arrived,
            size: entry.size,
            sender: entry.envelope.sender.path.to_string(),
            recipient: state.recipient.address.to_string(),
            attempts: state.attempts,
            next_attempt: state.next_attempt,
            held: state.held,
            reason: reason.clone(),
            closed: closures.of(state),
        };
        if !audience.hear(Line::Waiting(waiting.printable())) {
            return Ok(false);
        }
    }
    if total.recipients > before {
        total.letters += 1;
        total.octets += entry.size;
        total.oldest = Some(total.oldest.unwrap_or(entry.arrived).min(entry.arrived));
    }
    Ok(true)
}
