//! One letter to one destination: one transaction for its recipients there, each one's fate made durable.

use super::board::Contact;
use super::conclude::conclude;
use super::courier::{self, Courier};
use super::desk::Ticket;
use super::hand::{Busy, Hand};
use super::outlook::Outlook;
use super::plan::Plan;
use super::verdict::Verdict;
use super::{Parts, dice, is_ours, isolated, unix_time};
use crate::mail::address::Host;
use crate::mail::dsn::Diagnosis;
use crate::mail::envelope::Envelope;
use crate::policy::retry;
use crate::queue::RecipientState;
use crate::smtp::Door;
use crate::smtp::client::Request;
use crate::store::StoreError;
use crate::system::threads::blocking;
use std::sync::Arc;

/// Recipients of one transaction at most: what every server takes (RFC 5321 section 4.5.3.1.8). More are several.
const RECIPIENTS: usize = 100;

/// What is to be done for the recipients at a destination.
pub(super) enum Mission {
    /// The letter is carried there; `failures` is how often that failed in a row for the lane.
    Carry { plan: Arc<Plan>, courier: Option<Box<Courier>>, failures: u32 },
    /// There is no way, and never will be.
    Never(Diagnosis),
    /// There is no way now: they are put off until then.
    Later { reason: String, until: i64 },
}

/// What came of it.
struct Carried {
    /// One per recipient; none if it broke off by a fault of ours.
    verdicts: Option<Vec<Verdict>>,
    courier: Option<Box<Courier>>,
    contact: Contact,
    /// When those who are put off are tried again, if that is the same for all.
    until: Option<i64>,
}

/// Sends, and records what came of it. The courier goes back as soon as it is free.
pub(super) async fn send(parts: Parts, hand: Arc<Hand>, mission: Mission, mut ticket: Ticket) {
    let (busy, request) = match prepare(&parts, &hand, ticket.host()).await {
        Ok(Prepared::Errand(busy, request)) => (busy, *request),
        Ok(Prepared::Ours) => {
            ticket.carried(mission.courier(), Contact::None);
            return ticket.over(Outlook::look_at(unix_time()));
        }
        Ok(Prepared::Nothing) => {
            ticket.carried(mission.courier(), Contact::None);
            return hand.settle(&parts, false, move |outlook| ticket.over(outlook)).await;
        }
        Err(error) => {
            tracing::error!(id = %hand.id, %error, "a queued letter cannot be read; tried again");
            ticket.carried(mission.courier(), Contact::None);
            return ticket.over(Outlook::look_at(after_fault()));
        }
    };
    let attempts = attempts(&hand, &busy);
    let Some(carried) = mission.carry_out(&parts, &hand, request, attempts).await else {
        drop(busy);
        ticket.carried(None, Contact::None);
        return hand.settle(&parts, false, move |outlook| ticket.over(outlook)).await;
    };
    ticket.carried(carried.courier, carried.contact);
    let (applying, here) = (parts.clone(), Arc::clone(&hand));
    let busy = blocking(move || {
        conclude(&applying, &here, &busy, carried.verdicts, carried.until);
        busy
    })
    .await;
    hand.settle(&parts, true, move |outlook| ticket.over(outlook)).await;
    // Who waits for them finds what is durable.
    drop(busy);
}

/// When something is tried again that could not even be begun, Unix seconds.
pub(super) fn after_fault() -> i64 {
    unix_time().saturating_add(retry::wait(1, dice()))
}

impl Mission {
    fn courier(self) -> Option<Box<Courier>> {
        match self {
            Mission::Carry { courier, .. } => courier,
            _ => None,
        }
    }

    /// `attempts` is how often the letter was tried before: after a restart the lane does not know. None: the server stops,
    /// and nobody was asked.
    async fn carry_out(self, parts: &Parts, hand: &Hand, request: Request, attempts: u32) -> Option<Carried> {
        let count = request.envelope.recipients.len();
        let (plan, courier, failures) = match self {
            Mission::Carry { plan, courier, failures } => (plan, courier, failures),
            Mission::Never(diagnosis) => {
                return Some(Carried::nowhere(vec![Verdict::Failed(diagnosis); count], None));
            }
            Mission::Later { reason, until } => {
                return Some(Carried::nowhere(vec![Verdict::later(reason, None); count], Some(until)));
            }
        };
        let (parts, id) = (parts.clone(), hand.id);
        let work = async move { courier::carry(&parts, &plan, &id, request, courier.map(|it| *it)).await };
        let Some(trip) = isolated(work).await else {
            return Some(Carried { verdicts: None, courier: None, contact: Contact::None, until: None });
        };
        let trip = trip?;
        let until =
            || unix_time().saturating_add(retry::wait(failures.max(attempts).saturating_add(1), dice()));
        let (contact, until) = match trip.unreachable {
            Some(reason) => {
                let until = until();
                (Contact::Unreachable { reason, until }, Some(until))
            }
            None => (Contact::Reached, None),
        };
        Some(Carried { verdicts: Some(trip.verdicts), courier: trip.courier.map(Box::new), contact, until })
    }
}

impl Carried {
    fn nowhere(verdicts: Vec<Verdict>, until: Option<i64>) -> Carried {
        Carried { verdicts: Some(verdicts), courier: None, contact: Contact::None, until }
    }
}

enum Prepared {
    Errand(Busy, Box<Request>),
    /// The entry is gone, or nobody at the destination is due.
    Nothing,
    /// The destination is ours, by now or since it is a stranger's letter: that is not for us.
    Ours,
}

async fn prepare(parts: &Parts, hand: &Arc<Hand>, destination: &Arc<Host>) -> Result<Prepared, StoreError> {
    let (parts, hand, destination) = (parts.clone(), Arc::clone(hand), Arc::clone(destination));
    blocking(move || {
        let mut slot = hand.open(&parts)?;
        let Some(entry) = &slot.entry else { return Ok(Prepared::Nothing) };
        let now = unix_time();
        let there = |(index, r): &(usize, &RecipientState)| {
            r.is_due(now) && r.recipient.address.host() == &*destination && !slot.busy.contains(index)
        };
        let due = entry.recipients.iter().enumerate().filter(there).take(RECIPIENTS);
        let (places, recipients): (Vec<_>, Vec<_>) = due.map(|(n, r)| (n, r.recipient.clone())).unzip();
        if places.is_empty() {
            return Ok(Prepared::Nothing);
        }
        if entry.door == Door::Mx || is_ours(&parts, &destination)? {
            return Ok(Prepared::Ours);
        }
        let request = Request {
            envelope: Envelope { sender: entry.envelope.sender.clone(), recipients },
            size: entry.size,
            eight_bit: entry.eight_bit,
            all_or_none: false,
        };
        Ok(Prepared::Errand(Busy::take(&hand, &mut slot, places), Box::new(request)))
    })
    .await
}

fn attempts(hand: &Hand, busy: &Busy) -> u32 {
    let slot = hand.lock();
    let states = slot.entry.as_ref().map_or(&[][..], |entry| &entry.recipients);
    let theirs = busy.recipients.iter().filter_map(|&place| states.get(place));
    theirs.map(|state| state.attempts).max().unwrap_or(0)
}
