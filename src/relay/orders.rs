//! What the owner asks of the queue by hand, on a running server and on a stopped one.

use super::hand::reason;
use super::{Parts, bounce};
use crate::mail::dsn::Diagnosis;
use crate::queue::select::Selection;
use crate::queue::{Entry, EntryId, RecipientState, State};
use crate::smtp::Door;
use crate::store::StoreError;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

/// What is to be done with pending recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Try now, whatever the schedule says.
    Retry,
    /// Neither try nor give up until released.
    Hold,
    /// Undo a hold, and try now.
    Release,
    /// Give up without a report.
    Drop,
    /// Give up now, with a report to the sender.
    Bounce,
}

/// One recipient that an order was carried out for, or why it was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The entry.
    pub id: String,
    /// The recipient.
    pub recipient: String,
    /// Why nothing was done: he is being delivered to at this moment, say; none if it was.
    pub fault: Option<String>,
}

impl Done {
    /// Nothing could be done for a letter: of one that cannot be read no recipient is known.
    pub(super) fn fault(id: EntryId, fault: String) -> Done {
        Done { id: id.to_string(), recipient: String::new(), fault: Some(fault) }
    }
}

/// A destination as the relay sees it now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// Its domain, or the address in brackets.
    pub name: String,
    /// Letters that wait for it.
    pub waiting: usize,
    /// Connections to it.
    pub connections: usize,
    /// Unix time, seconds, until which it is left alone; none if it is not.
    pub closed_until: Option<i64>,
    /// Why.
    pub reason: Option<String>,
}

pub(super) enum Message {
    Order(Order, Selection, oneshot::Sender<Result<Vec<Done>, String>>),
    Destinations(oneshot::Sender<Vec<Destination>>),
}

/// The way to a running relay. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Control {
    messages: mpsc::Sender<Message>,
}

impl Control {
    pub(super) fn new() -> (Control, mpsc::Receiver<Message>) {
        let (messages, received) = mpsc::channel(16);
        (Control { messages }, received)
    }

    /// Carries an order out. An error is the relay's, in words.
    pub async fn order(&self, order: Order, selection: Selection) -> Result<Vec<Done>, String> {
        let (answer, answered) = oneshot::channel();
        let _ = self.messages.send(Message::Order(order, selection, answer)).await;
        answered.await.unwrap_or_else(|_| Err("the relay is stopping".into()))
    }

    /// What the relay knows of its destinations.
    pub async fn destinations(&self) -> Vec<Destination> {
        let (answer, answered) = oneshot::channel();
        let _ = self.messages.send(Message::Destinations(answer)).await;
        answered.await.unwrap_or_default()
    }
}

/// Carries an order out on one entry, and records it. For a stopped server. Blocks.
fn perform(
    parts: &Parts,
    id: &EntryId,
    order: Order,
    selection: &Selection,
) -> Result<Vec<Done>, StoreError> {
    let Some(before) = parts.queue.load(id)? else { return Ok(Vec::new()) };
    let mut entry = before.clone();
    let done = carry_out(parts, &mut entry, order, selection, &[]);
    if entry != before {
        parts.queue.record(&entry)?;
    }
    Ok(done)
}

/// Carries an order out on the pending recipients of an entry that are meant. `busy` are being delivered to: their fate is
/// in other hands. Blocks; the caller records the entry.
pub(super) fn carry_out(
    parts: &Parts,
    entry: &mut Entry,
    order: Order,
    selection: &Selection,
    busy: &[usize],
) -> Vec<Done> {
    let meant = |(place, state): (usize, &RecipientState)| {
        let meant = match order {
            Order::Release => state.is_pending() && state.held,
            // Whoever asks for everything does not mean those whom he told to wait.
            Order::Retry if selection.words.is_empty() => state.is_pending() && !state.held,
            _ => state.is_pending(),
        };
        (meant && selection.covers(entry, state)).then_some(place)
    };
    let places: Vec<usize> = entry.recipients.iter().enumerate().filter_map(meant).collect();
    let mut done = Vec::new();
    for place in places {
        let Some(mut state) = entry.recipients.get(place).cloned() else { continue };
        let fault = match busy.contains(&place) {
            true => Some("he is being delivered to at this moment".to_owned()),
            false => change(parts, entry, &mut state, order).err(),
        };
        let recipient = state.recipient.address.to_string();
        tracing::info!(id = %entry.id, to = recipient, ?order, fault, "ordered by hand");
        done.push(Done { id: entry.id.to_string(), recipient, fault });
        if let Some(changed) = entry.recipients.get_mut(place) {
            *changed = state;
        }
    }
    done
}

fn change(parts: &Parts, entry: &Entry, state: &mut RecipientState, order: Order) -> Result<(), String> {
    match order {
        Order::Retry if state.held => return Err("he is held; `queue release` lets him go".into()),
        Order::Retry => state.next_attempt = 0,
        Order::Hold => state.held = true,
        Order::Release => {
            state.held = false;
            state.next_attempt = 0;
        }
        Order::Drop => state.state = State::Failed { reason: "dropped by hand".into() },
        Order::Bounce if entry.door == Door::Mx => {
            return Err("a stranger's letter is not sent back; `queue drop` ends it".into());
        }
        Order::Bounce => {
            let words = match reason(&state.state) {
                Some(last) => format!("given up by hand; the last reason was: {last}"),
                None => "given up by hand before it was tried".to_owned(),
            };
            let diagnosis = Diagnosis { status: (5, 0, 0), words, host: None };
            bounce::give_up(parts, entry, state, &diagnosis).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// Carries an order out on a stopped server's queue, which `parts` has open. A letter that it cannot be carried out on is
/// no reason to leave the others alone. Blocks.
pub fn perform_all(parts: &Parts, order: Order, selection: &Selection) -> Result<Vec<Done>, StoreError> {
    let ids = parts.queue.entries()?;
    let meant = ids.iter().filter(|id| selection.may_cover(id));
    let done = meant.flat_map(|id| {
        perform(parts, id, order, selection).unwrap_or_else(|error| vec![Done::fault(*id, error.to_string())])
    });
    Ok(done.collect())
}
