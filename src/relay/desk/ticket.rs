//! What those who work on an entry tell the desk. Whoever ends without a word, by a panic, is told of all the same.

use super::super::board::{Answer, Contact};
use super::super::courier::Courier;
use super::super::orders::Done;
use super::super::outlook::Outlook;
use super::super::send::after_fault;
use super::Way;
use crate::mail::address::Host;
use crate::queue::EntryId;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;

pub(super) enum Event {
    /// A destination was looked up.
    Answered(Arc<Host>, Answer<Way>),
    /// A letter's journey is over.
    Carried(u64, Option<Box<Courier>>, Contact),
    /// What became of it is recorded.
    Sent(Errand, Outlook),
    /// An entry was looked at; whether it has just come.
    Looked(EntryId, Outlook, bool),
    /// An order was carried out for an entry; the destinations that it was about.
    Ordered(u64, EntryId, Ordered),
}

/// What an order did to an entry.
pub(super) struct Ordered {
    pub(super) done: Vec<Done>,
    pub(super) hosts: Vec<Host>,
    /// None: as before.
    pub(super) outlook: Option<Outlook>,
}

/// One letter to one destination.
#[derive(Clone)]
pub(super) struct Errand {
    pub(super) id: EntryId,
    pub(super) host: Arc<Host>,
    /// None: nothing is sent.
    pub(super) journey: Option<(u64, Arc<str>)>,
}

/// The right to work on an errand, given back by `over`.
pub(in crate::relay) struct Ticket {
    pub(super) events: UnboundedSender<Event>,
    /// None: told.
    pub(super) errand: Option<Errand>,
    pub(super) host: Arc<Host>,
}

impl Ticket {
    pub(super) fn new(events: UnboundedSender<Event>, errand: Errand) -> Ticket {
        Ticket { events, host: Arc::clone(&errand.host), errand: Some(errand) }
    }

    pub(in crate::relay) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The courier is free, and the lane can go on.
    pub(in crate::relay) fn carried(&mut self, courier: Option<Box<Courier>>, contact: Contact) {
        if let Some((number, _)) = self.errand.as_ref().and_then(|errand| errand.journey.as_ref()) {
            // Nobody listens when the relay has stopped.
            let _ = self.events.send(Event::Carried(*number, courier, contact));
        }
    }

    /// Everything is recorded.
    pub(in crate::relay) fn over(mut self, outlook: Outlook) {
        self.tell(outlook);
    }

    fn tell(&mut self, outlook: Outlook) {
        if let Some(errand) = self.errand.take() {
            let _ = self.events.send(Event::Sent(errand, outlook));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.tell(Outlook::look_at(after_fault()));
    }
}

/// The right to look at an entry, given back by `over`.
pub(in crate::relay) struct Looked {
    pub(super) events: UnboundedSender<Event>,
    /// None: told.
    pub(super) id: Option<EntryId>,
    pub(super) fresh: bool,
}

impl Looked {
    pub(in crate::relay) fn over(mut self, outlook: Outlook) {
        self.tell(outlook);
    }

    fn tell(&mut self, outlook: Outlook) {
        if let Some(id) = self.id.take() {
            let _ = self.events.send(Event::Looked(id, outlook, self.fresh));
        }
    }
}

impl Drop for Looked {
    fn drop(&mut self) {
        self.tell(Outlook::look_at(after_fault()));
    }
}
