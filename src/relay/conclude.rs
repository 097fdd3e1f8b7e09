//! What an attempt means for its recipients.

use super::hand::{Busy, Hand};
use super::verdict::Verdict;
use super::{Parts, bounce, dice, unix_time};
use crate::mail::dsn::{Diagnosis, Kind};
use crate::policy::retry::{self, Next};
use crate::queue::{Entry, RecipientState, State};
use crate::store::StoreError;

/// Applies the verdicts, one per recipient who is busy; without them the attempt broke off by a fault of ours. `until` is
/// when those who are put off are tried again, if that is the same for all. Reports are durable behind this, the states
/// not yet. Blocks.
pub(super) fn conclude(
    parts: &Parts,
    hand: &Hand,
    busy: &Busy,
    verdicts: Option<Vec<Verdict>>,
    until: Option<i64>,
) {
    let mut slot = hand.lock();
    if let Some(entry) = &mut slot.entry {
        let mut states = std::mem::take(&mut entry.recipients);
        let judge = Judge { parts, entry, until, now: unix_time() };
        let mut verdicts = verdicts.map(Vec::into_iter);
        for &place in &busy.recipients {
            let Some(state) = states.get_mut(place) else { continue };
            match verdicts.as_mut().map(|verdicts| verdicts.next().unwrap_or_else(unsaid)) {
                Some(verdict) => judge.judge(state, verdict),
                None => judge.broke_off(state),
            }
        }
        entry.recipients = states;
    }
}

const BROKEN: &str = "the attempt broke off by a fault of this server";

fn unsaid() -> Verdict {
    Verdict::later("nothing was said about this recipient".into(), None)
}

struct Judge<'a> {
    parts: &'a Parts,
    /// Without its recipients.
    entry: &'a Entry,
    until: Option<i64>,
    now: i64,
}

impl Judge<'_> {
    fn judge(&self, recipient: &mut RecipientState, verdict: Verdict) {
        let outcome = match verdict {
            Verdict::Delivered { to, tls, dsn } => {
                self.delivered(recipient, to, tls, dsn);
                Ok(())
            }
            Verdict::Failed(diagnosis) => bounce::give_up(self.parts, self.entry, recipient, &diagnosis),
            Verdict::Deferred(diagnosis) => self.deferred(recipient, diagnosis),
        };
        if let Err(error) = outcome {
            let (id, to) = (&self.entry.id, &recipient.recipient.address);
            tracing::error!(%id, %to, %error, "no report could be written; the letter is tried again");
            self.parts.put_off_for_fault(recipient, error.to_string(), self.now);
        }
    }

    fn broke_off(&self, recipient: &mut RecipientState) {
        let (id, to) = (&self.entry.id, &recipient.recipient.address);
        tracing::error!(%id, %to, "{BROKEN}; tried again");
        self.parts.put_off_for_fault(recipient, BROKEN.into(), self.now);
    }

    fn delivered(&self, recipient: &mut RecipientState, by: String, tls: String, dsn: bool) {
        let (id, to) = (&self.entry.id, &recipient.recipient.address);
        let delay = self.now.saturating_sub(self.entry.arrived);
        let attempts = recipient.attempts.saturating_add(1);
        tracing::info!(%id, %to, by, tls, delay, attempts, "relayed");
        // Where the other side took the wish to hear of it, the report is its duty.
        if !dsn
            && let Err(error) = bounce::confirm(self.parts, self.entry, recipient, Kind::Relayed, by.clone())
        {
            // What was taken is not sent again for the sake of a report.
            tracing::error!(%id, %to, %error, "the sender could not be told that the letter was relayed");
        }
        recipient.attempts = attempts;
        recipient.state = State::Delivered { to: by, tls: Some(tls) };
    }

    fn deferred(&self, recipient: &mut RecipientState, diagnosis: Diagnosis) -> Result<(), StoreError> {
        let wait = match self.until {
            Some(until) => until.saturating_sub(self.now),
            None => retry::wait(recipient.attempts.saturating_add(1), dice()),
        };
        match retry::next(self.entry.arrived, self.now, wait, self.parts.config.retry_for) {
            Next::GiveUp => {
                let diagnosis = Diagnosis { status: (5, 4, 7), ..diagnosis };
                bounce::give_up(self.parts, self.entry, recipient, &diagnosis)
            }
            Next::At(at) => {
                self.put_off(recipient, &diagnosis, at);
                Ok(())
            }
        }
    }

    fn put_off(&self, recipient: &mut RecipientState, diagnosis: &Diagnosis, at: i64) {
        let (id, to, reason) = (&self.entry.id, &recipient.recipient.address, diagnosis.line());
        let again_in = at.saturating_sub(self.now);
        let delay = self.now.saturating_sub(self.entry.arrived);
        let attempts = recipient.attempts.saturating_add(1);
        tracing::info!(%id, %to, reason, again_in, delay, attempts, "put off");
        self.parts.put_off(recipient, reason, at);
        warn_if_late(self.parts, self.entry, recipient, diagnosis, self.now);
    }
}

/// Tells the sender of a delay, if it is time to and he was not told. What cannot be written is written later.
pub(super) fn warn_if_late(
    parts: &Parts,
    entry: &Entry,
    recipient: &mut RecipientState,
    diagnosis: &Diagnosis,
    now: i64,
) {
    if recipient.warned || now < retry::late(entry.arrived, parts.config.warn_after) {
        return;
    }
    if let Err(error) = bounce::warn(parts, entry, recipient, diagnosis) {
        let to = &recipient.recipient.address;
        tracing::error!(id = %entry.id, %to, %error, "the sender could not be told of the delay; told later");
    }
}
