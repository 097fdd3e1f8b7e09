//! The owner's letter that is whole: judged by the seven rules, committed to the queue once.

use super::house::{House, fault_at, unix_time};
use super::mx::deliver_at_once;
use super::parcel::{Gathering, Parcel, Whole};
use super::recipients::{Finished, recipient_can_receive};
use super::replies;
use super::trace::{Why, log_decision, received};
use crate::policy::submission::{Accepted, decide, in_flight, untold, used};
use crate::queue::{NewEntry, Seen};
use crate::smtp::Door;
use crate::smtp::reply::Reply;
use crate::store::StoreError;
use crate::store::letter::Spill;
use crate::system::threads::blocking;
use crate::trust::pinned::Vouching;
use crate::trust::submission::once;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// RFC 5322 section 2.1.1; docs/submission.md rule 2.
const LONGEST_LINE: usize = 998;
/// How long is asked whether the recipients' domains can receive, after the dot; the queue asks again.
const ASKING: Duration = Duration::from_secs(20);

/// Judges and queues; the reply to the final dot.
pub async fn accept(house: &Arc<House>, id: &str, parcel: Parcel, done: Finished) -> Reply {
    let (reply, note) = match judge(parcel, &done).await {
        Ok(letter) => {
            let by = format!("signed by {}", letter.accepted.by);
            (commit(house, id, letter, &done).await.unwrap_or_else(|reply| reply), Some(by))
        }
        Err(Refused { reply, untold }) => (reply, untold),
    };
    // From afar anybody may bring letters, for a hundred recipients of any name each, of which no address here is one.
    if reply.is_positive() || done.may_tell_refusal(&format!("refused at the dot: {}", reply.code)) {
        log_decision(id, &done, &reply, &Why { note: note.as_deref(), ..Why::default() });
    }
    reply
}

/// A letter that is not taken.
pub(super) struct Refused {
    pub(super) reply: Reply,
    /// What the reply does not say, for the log.
    untold: Option<String>,
}

impl From<Reply> for Refused {
    fn from(reply: Reply) -> Refused {
        Refused { reply, untold: None }
    }
}

/// A letter whose sender proved that it is his.
pub(super) struct Letter {
    pub(super) accepted: Accepted,
    /// The header without seal: what is queued.
    head: Vec<u8>,
    body: Spill,
}

/// Judges a letter by the rules that need no memory of others.
pub(super) async fn judge(parcel: Parcel, done: &Finished) -> Result<Letter, Refused> {
    let Whole { body, gathering, .. } = parcel.whole(done).await?;
    let Gathering::Submission(gathering) = gathering else { return Err(replies::broken().into()) };
    if done.facts.longest_line > LONGEST_LINE {
        return Err(replies::line_too_long(done.facts.longest_line, LONGEST_LINE).into());
    }
    let (dns, now) = (&done.premises.dns, unix_time().as_secs() as i64);
    let gathered = match done.peer.afar {
        true => gathering.finish(&Vouching::new(dns.clone(), &done.premises.config.state_dir), now).await,
        false => gathering.finish(dns, now).await,
    };
    let accepted =
        decide(&gathered.evidence).map_err(|reply| Refused { reply, untold: untold(&gathered.evidence) })?;
    if done.peer.afar {
        // Not before: see `Transaction::rcpt`.
        timeout(ASKING, recipients_can_receive(done)).await.unwrap_or(Ok(()))?;
    }
    Ok(Letter { accepted, head: gathered.head, body })
}

async fn recipients_can_receive(done: &Finished) -> Result<(), Reply> {
    for known in done.recipients.iter().filter(|known| known.mailbox.is_none()) {
        recipient_can_receive(&done.dns, &known.recipient.address, None).await?;
    }
    Ok(())
}

/// Looks at the marks and, where they are new, commits; the reply, which is not always a good one.
async fn commit(house: &Arc<House>, id: &str, letter: Letter, done: &Finished) -> Result<Reply, Reply> {
    let now = unix_time().as_secs() as i64;
    let marks = once(&letter.accepted);
    let entry = NewEntry {
        door: Door::Submission,
        arrived: now,
        envelope: done.envelope(),
        once: Some(marks.clone()),
        received: received(id, done, None).into_bytes(),
        junk: false,
    };
    let (house, size, named) = (Arc::clone(house), done.facts.size, id.to_owned());
    let outcome = blocking(move || {
        let claim = match house.queue.claim(&marks, now)? {
            (Seen::New, claim) => claim,
            (Seen::Same(entry), _) => {
                tracing::info!(id = named, %entry, "the same letter is in the queue, or was");
                return Ok(replies::queued_before(&entry.to_string()));
            }
            (Seen::InFlight, _) => return Ok(in_flight()),
            (Seen::Different(what), _) => return Ok(used(&what)),
        };
        // Asked last: the retry of what was committed before gets its 250 however late it comes.
        if let Err(reply) = letter.accepted.fresh(now) {
            return Ok(reply);
        }
        house.premises.room_in_state(size)?;
        let entry = house.queue.commit(entry, &letter.head, &letter.body, claim)?;
        // Before the lines that know it by the entry alone, and also where nobody waits for the outcome any more.
        tracing::info!(id = named, %entry, "committed to the queue");
        deliver_at_once(&house, &entry);
        Ok::<_, StoreError>(replies::queued(&entry.to_string()))
    });
    outcome.await.map_err(|error| fault_at(id, &error))
}
