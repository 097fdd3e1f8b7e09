//! What the owner asks of the queue by hand, on a running server and on a stopped one.

use super::Parts;
use crate::queue::select::Selection;
use crate::queue::{EntryId, Queue};
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

/// Carries an order out on one entry, and records it. For a stopped server, and for entries that are in nobody's hand.
/// Blocks.
pub fn perform(
    parts: &Parts,
    id: &EntryId,
    order: Order,
    selection: &Selection,
) -> Result<Vec<Done>, StoreError> {
    let _ = (parts, id, order, selection);
    Ok(Vec::new())
}

/// Carries an order out on a stopped server's queue, which `parts` has open. Blocks.
pub fn perform_all(
    parts: &Parts,
    queue: &Queue,
    order: Order,
    selection: &Selection,
) -> Result<Vec<Done>, StoreError> {
    let mut done = Vec::new();
    for id in queue.entries()? {
        done.extend(perform(parts, &id, order, selection)?);
    }
    Ok(done)
}
