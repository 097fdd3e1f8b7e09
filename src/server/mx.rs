//! A stranger's letter that is whole: judged, then stored, in one directory directly, in several through the queue.

use super::examine::{Examined, Sources, examine};
use super::filter::{About, Filter};
use super::hearing::Hearing;
use super::house::{House, fault_at, unix_time};
use super::parcel::{Gathering, Parcel};
use super::recipients::{Finished, KnownRecipient};
use super::replies;
use super::trace::{Why, log_decision, received};
use crate::mail::address::Address;
use crate::mail::form::{Carriage, Oddity, oddities};
use crate::mail::header::split_lenient;
use crate::mail::trace;
use crate::policy::filter::FilterVerdict;
use crate::policy::inbound::Ruling;
use crate::policy::results::{authentication_results, verdict_field};
use crate::queue::NewEntry;
use crate::relay;
use crate::smtp::Door;
use crate::smtp::reply::Reply;
use crate::store::StoreError;
use crate::store::letter::Spill;
use crate::store::tree::{Mailbox, Store};
use crate::system::threads::blocking;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// Judges and stores; the reply to the final dot.
pub async fn accept(
    house: &Arc<House>,
    id: &str,
    parcel: Parcel,
    mut done: Finished,
    (hearing, stop): (&mut Hearing, &mut watch::Receiver<bool>),
) -> Reply {
    let judging = judge(id, parcel, &mut done, house.filter.as_ref());
    let judged = hearing.meanwhile(judging, stop).await.unwrap_or_else(Judged::from);
    let (note, verdict) = (judged.note(), judged.verdict());
    let stored = match judged.letter {
        Ok(letter) => store(house, id, letter, &done).await,
        Err(reply) => Err(reply),
    };
    let (reply, place) = match stored {
        Ok(place) => (replies::stored(id), place),
        Err(reply) => (reply, None),
    };
    log_decision(id, &done, &reply, &Why { verdict, place: place.as_deref(), note: note.as_deref() });
    reply
}

/// A letter that may come in.
pub(super) struct Letter {
    /// Its own header without what only we may write, the empty line included.
    head: Vec<u8>,
    body: Spill,
    /// What we write on top of it, Received included.
    on_top: Vec<u8>,
    pub(super) junk: bool,
}

/// The letter, or why it stays out, and what was found out about it.
pub(super) struct Judged {
    pub(super) letter: Result<Letter, Reply>,
    pub(super) examined: Option<Examined>,
    /// What the owner's filter said, in words.
    pub(super) filtered: Option<String>,
}

impl Judged {
    /// In a word, where it was looked into.
    fn verdict(&self) -> Option<&'static str> {
        self.examined.as_ref()?;
        Some(match &self.letter {
            Ok(letter) if letter.junk => "junk",
            Ok(_) => "accept",
            Err(reply) if reply.is_permanent() => "refuse",
            Err(_) => "defer",
        })
    }

    /// All of it in one sentence, for the log.
    fn note(&self) -> Option<String> {
        let parts = [self.filtered.clone(), self.examined.as_ref().map(Examined::sentence)];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

impl From<Reply> for Judged {
    fn from(reply: Reply) -> Judged {
        Judged { letter: Err(reply), examined: None, filtered: None }
    }
}

/// Judges a letter that is whole.
pub(super) async fn judge(id: &str, parcel: Parcel, done: &mut Finished, filter: Option<&Filter>) -> Judged {
    let whole = match parcel.whole(done).await {
        Ok(whole) => whole,
        Err(reply) => return reply.into(),
    };
    let form = match look_at_form(&whole.header, done) {
        Ok(form) => form,
        Err(reply) => return reply.into(),
    };
    let (Gathering::Mx(letter, discovery), Some(client)) = (whole.gathering, done.inquiry.take()) else {
        return replies::broken().into();
    };
    let premises = Arc::clone(&done.premises);
    let now = unix_time().as_secs() as i64;
    let dns = done.dns.clone();
    let sources = Sources { dns, letter, discovery, client, form };
    let examined = examine(&premises, sources, now).await;
    if let Some(reply) = examined.decision.ruling.refusal() {
        return Judged { letter: Err(reply.clone()), examined: Some(examined), filtered: None };
    }
    // Received stands lowest: a letter that begins with a line that goes on would add to whatever stands above it.
    let trace = [
        authentication_results(premises.name.as_str(), &examined.evidence),
        received(id, done, examined.evidence.peer.name.confirmed()),
    ]
    .concat();
    let head = own_head(&whole.header, premises.name.as_str());
    let junk = examined.decision.ruling == Ruling::Junk;
    let (filtered, outcome) = match filter {
        None => (None, Ok((String::new(), junk))),
        Some(filter) => {
            let about = About::of(id, done, &examined);
            let verdict = filter.ask(&about, &[trace.as_bytes(), &head].concat(), &whole.body).await;
            (Some(format!("the filter says {}", verdict.word())), added(verdict, junk))
        }
    };
    let mut judged = Judged { letter: Err(replies::broken()), examined: Some(examined), filtered };
    judged.letter = outcome.map(|(fields, junk)| {
        let said = judged.note().unwrap_or_default();
        let verdict = verdict_field(if junk { "junk" } else { "accept" }, &said);
        let on_top = [verdict, fields, trace].concat().into_bytes();
        Letter { head, body: whole.body, on_top, junk }
    });
    judged
}

/// What the filter's verdict adds: its fields, and whether the letter is junk, as it may have been before.
fn added(verdict: FilterVerdict, junk: bool) -> Result<(String, bool), Reply> {
    match (verdict.reply(), verdict) {
        (Some(reply), _) => Err(reply),
        (None, FilterVerdict::Junk { fields }) => Ok((fields.concat(), true)),
        (None, FilterVerdict::Accept { fields }) => Ok((fields.concat(), junk)),
        (None, FilterVerdict::Defer { .. } | FilterVerdict::Refuse { .. }) => Err(replies::broken()),
    }
}

/// The letter's own header without what only the server that delivers may write.
fn own_head(header: &[u8], name: &str) -> Vec<u8> {
    let split = split_lenient(header);
    let fields: usize = split.fields.iter().map(|field| field.raw.len()).sum();
    let mut head = trace::strip_forged(&split, name);
    // The empty line, where there is one.
    head.extend_from_slice(header.get(fields..).unwrap_or_default());
    head
}

/// What is odd in the form of the letter. A letter that goes round in circles is refused (RFC 5321 section 6.3).
fn look_at_form(header: &[u8], done: &Finished) -> Result<Vec<Oddity>, Reply> {
    let header = split_lenient(header);
    if trace::hops(&header) > trace::MAX_HOPS {
        return Err(replies::mail_loop("the letter went through more than a hundred servers"));
    }
    if trace::was_delivered(&header, done.recipients.iter().map(|known| &known.recipient.address)) {
        return Err(replies::mail_loop("the letter was delivered to this very address before"));
    }
    let carriage = Carriage {
        sender: &done.sender.sender,
        longest_line: done.facts.longest_line,
        eight_bit_body: done.facts.eight_bit_body,
    };
    Ok(oddities(&header, carriage))
}

/// Where it lies, if it needed no queue.
async fn store(
    house: &Arc<House>,
    id: &str,
    letter: Letter,
    done: &Finished,
) -> Result<Option<String>, Reply> {
    let copies = distinct(&done.recipients);
    match copies.as_slice() {
        [(mailbox, address)] => {
            let own = [trace::return_path(&done.sender.sender.path), trace::delivered_to(address)].concat();
            let head = [own.as_bytes(), &letter.on_top, &letter.head].concat();
            let room = done.premises.space_for(done.facts.size);
            let junk_of = letter.junk.then(|| done.premises.store.clone());
            store_one(id, (*mailbox).clone(), junk_of, (room, head, letter.body)).await.map(Some)
        }
        _ => store_several(house, id, letter, done).await.map(|()| None),
    }
}

/// Each directory once, however many of the recipients lead to it.
fn distinct(recipients: &[KnownRecipient]) -> Vec<(&Mailbox, &Address)> {
    let mut copies: Vec<(&Mailbox, &Address)> = Vec::new();
    for known in recipients {
        if let Some(mailbox) = &known.mailbox
            && !copies.iter().any(|(other, _)| other.id == mailbox.id)
        {
            copies.push((mailbox, &known.recipient.address));
        }
    }
    copies
}

/// `junk_of` is the tree where the letter goes to the address's directory for junk, if there is one; `room` the octets that must
/// be free. The directory that it went to.
async fn store_one(
    id: &str,
    mailbox: Mailbox,
    junk_of: Option<Store>,
    (room, head, body): (u64, Vec<u8>, Spill),
) -> Result<String, Reply> {
    let abandoned = Abandoned::default();
    let flag = Arc::clone(&abandoned.0);
    let stored = blocking(move || {
        let junk = junk_of.map(|store| store.junk(&mailbox)).transpose()?.flatten();
        let mailbox = junk.unwrap_or(mailbox);
        mailbox.check_space(room)?;
        let staged = mailbox.stage(None, &head, &body)?;
        // The client was told 451 by now: what is not visible yet must not become so.
        if flag.load(Ordering::SeqCst) {
            return Ok::<_, StoreError>(None);
        }
        staged.commit()?;
        Ok(Some(mailbox.label))
    });
    match stored.await {
        Ok(Some(place)) => Ok(place),
        Ok(None) => Err(replies::too_slow()),
        Err(error) => Err(fault_at(id, &error)),
    }
}

/// Set when the minute is over and nobody waits for the outcome any more.
#[derive(Default)]
struct Abandoned(Arc<AtomicBool>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Several directories have one commit point: the queue's.
async fn store_several(house: &Arc<House>, id: &str, letter: Letter, done: &Finished) -> Result<(), Reply> {
    let (house, envelope, size) = (Arc::clone(house), done.envelope(), done.facts.size);
    let named = id.to_owned();
    let arrived = unix_time().as_secs() as i64;
    let Letter { head, body, on_top: received, junk } = letter;
    let entry = NewEntry { door: Door::Mx, arrived, envelope, once: None, received, junk };
    let abandoned = Abandoned::default();
    let flag = Arc::clone(&abandoned.0);
    let committed = blocking(move || {
        // Waited for a thread until nobody asked any more.
        if flag.load(Ordering::SeqCst) {
            return Ok(None);
        }
        house.premises.room_in_state(size)?;
        let entry = house.queue.commit(entry, &head, &body, None)?;
        // Before the lines that know it by the entry alone, and also where nobody waits for the outcome any more.
        tracing::info!(id = named, %entry, "several directories: through the queue");
        deliver_at_once(&house, &entry);
        Ok::<_, StoreError>(Some(()))
    });
    committed.await.map_err(|error| fault_at(id, &error))?.ok_or_else(replies::too_slow)
}

/// Local copies, as soon as the entry is committed. What fails here stays in the queue, and the relay tries again.
pub fn deliver_at_once(house: &House, entry: &crate::queue::EntryId) {
    relay::accept(&house.relay, entry);
}
