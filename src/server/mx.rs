//! A stranger's letter that is whole: judged, then stored, in one directory directly, in several through the queue.

use super::filter::About;
use super::house::{fault, unix_time};
use super::parcel::{Gathering, Parcel, Whole};
use super::recipients::{Finished, KnownRecipient};
use super::replies;
use super::trace::{log_decision, received};
use crate::mail::address::{Address, Domain};
use crate::mail::envelope::ReversePath;
use crate::mail::header::split_lenient;
use crate::mail::trace;
use crate::policy::filter::FilterVerdict;
use crate::policy::inbound::{Evidence, decide};
use crate::policy::results::authentication_results;
use crate::queue::NewEntry;
use crate::relay;
use crate::smtp::Door;
use crate::smtp::reply::Reply;
use crate::store::StoreError;
use crate::store::letter::Spill;
use crate::store::tree::Mailbox;
use crate::system::threads::blocking;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Judges and stores; the reply to the final dot.
pub async fn accept(parcel: Parcel, done: Finished) -> Reply {
    let id = done.house.new_id();
    let (reply, mark) = match judge(parcel, &done).await {
        Ok((mut letter, mark)) => match filter(&id, &mut letter, &done).await {
            Ok(filtered) => {
                (store(&id, letter, &done).await.unwrap_or_else(|reply| reply), filtered.or(mark))
            }
            Err(reply) => (reply, mark),
        },
        Err(reply) => (reply, None),
    };
    log_decision(&id, &done, &reply, mark.as_deref());
    reply
}

/// A letter that may come in.
struct Letter {
    /// The header as it came, the empty line included.
    header: Vec<u8>,
    body: Spill,
    /// Authentication-Results.
    results: String,
}

async fn judge(parcel: Parcel, done: &Finished) -> Result<(Letter, Option<String>), Reply> {
    let Whole { header, body, gathering } = parcel.whole(done).await?;
    refuse_loops(&header, &done.recipients)?;
    let Gathering::Mx(gathering) = gathering else { return Err(replies::broken()) };
    let rules = &done.house.config.inbound;
    let forwarders = rules.trusted_forwarders.iter().filter_map(|name| Domain::parse(name).ok()).collect();
    let now = unix_time().as_secs() as i64;
    let evidence: Evidence = gathering.finish(&done.house.dns, rules.broken_dkim, forwarders, now).await;
    let admitted = decide(&evidence)?;
    let results = authentication_results(done.house.name.as_str(), &evidence.signatures);
    Ok((Letter { header, body, results }, admitted.mark))
}

/// What the owner's filter says; a mark for the log where it is junk.
async fn filter(id: &str, letter: &mut Letter, done: &Finished) -> Result<Option<String>, Reply> {
    let Some(filter) = &done.house.filter else { return Ok(None) };
    let about = About {
        id: id.into(),
        from: match &done.sender.sender.path {
            ReversePath::Null => String::new(),
            path => path.to_string(),
        },
        to: done.recipients.iter().map(|known| known.recipient.address.to_string()).collect(),
        ip: done.peer.ip.map(|ip| ip.to_string()).unwrap_or_default(),
        helo: done.greeting.as_ref().map(|(name, _)| name.clone()).unwrap_or_default(),
        size: done.facts.size,
        hostname: done.house.name.to_string(),
        ..About::default()
    };
    let head = [letter.results.as_bytes(), received(id, done).as_bytes(), &letter.header].concat();
    let verdict = filter.ask(&about, &head, &letter.body).await;
    if let Some(reply) = verdict.reply() {
        return Err(reply);
    }
    let (fields, mark) = match verdict {
        FilterVerdict::Junk { fields } => (fields, Some("junk, says the filter".to_owned())),
        FilterVerdict::Accept { fields } => (fields, None),
        FilterVerdict::Defer { .. } | FilterVerdict::Refuse { .. } => return Err(replies::broken()),
    };
    letter.results.push_str(&fields.concat());
    Ok(mark)
}

/// RFC 5321 section 6.3.
fn refuse_loops(header: &[u8], recipients: &[KnownRecipient]) -> Result<(), Reply> {
    let header = split_lenient(header);
    if trace::hops(&header) > trace::MAX_HOPS {
        return Err(replies::mail_loop("the letter went through more than a hundred servers"));
    }
    for known in recipients {
        if trace::is_loop(&header, &known.recipient.address) {
            return Err(replies::mail_loop("the letter was delivered to this very address before"));
        }
    }
    Ok(())
}

async fn store(id: &str, letter: Letter, done: &Finished) -> Result<Reply, Reply> {
    let header = split_lenient(&letter.header);
    let fields: usize = header.fields.iter().map(|field| field.raw.len()).sum();
    let mut head = trace::strip_forged(&header, done.house.name.as_str());
    // The empty line, where there is one.
    head.extend_from_slice(letter.header.get(fields..).unwrap_or_default());
    let on_top = format!("{}{}", letter.results, received(id, done)).into_bytes();
    let copies = distinct(&done.recipients);
    match copies.as_slice() {
        [(mailbox, address)] => {
            let own = [trace::return_path(&done.sender.sender.path), trace::delivered_to(address)].concat();
            let head = [own.as_bytes(), &on_top, &head].concat();
            store_one((*mailbox).clone(), head, letter.body).await?;
            Ok(replies::stored(id))
        }
        _ => store_several(id, on_top, head, letter.body, done).await,
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

async fn store_one(mailbox: Mailbox, head: Vec<u8>, body: Spill) -> Result<(), Reply> {
    let abandoned = Abandoned::default();
    let flag = Arc::clone(&abandoned.0);
    let stored = blocking(move || {
        let staged = mailbox.stage(None, &head, &body)?;
        // The client was told 451 by now: what is not visible yet must not become so.
        if flag.load(Ordering::SeqCst) {
            return Ok::<bool, StoreError>(false);
        }
        staged.commit().map(|_| true)
    });
    match stored.await {
        Ok(true) => Ok(()),
        Ok(false) => Err(replies::too_slow()),
        Err(error) => Err(fault(&error)),
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
async fn store_several(
    id: &str,
    received: Vec<u8>,
    head: Vec<u8>,
    body: Spill,
    done: &Finished,
) -> Result<Reply, Reply> {
    let (house, envelope) = (Arc::clone(&done.house), done.envelope());
    let arrived = unix_time().as_secs() as i64;
    let entry = NewEntry { door: Door::Mx, arrived, envelope, once: None, received, junk: false };
    let abandoned = Abandoned::default();
    let flag = Arc::clone(&abandoned.0);
    let committed = blocking(move || {
        // Waited for a thread until nobody asked any more.
        if flag.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let entry = house.queue.commit(entry, &head, &body, None)?;
        deliver_at_once(&house, &entry);
        Ok::<_, StoreError>(Some(entry))
    });
    let entry = committed.await.map_err(|error| fault(&error))?.ok_or_else(replies::too_slow)?;
    tracing::info!(id, entry = %entry, "several directories: through the queue");
    Ok(replies::stored(id))
}

/// Local copies, as soon as the entry is committed. What fails here stays in the queue, and the relay tries again.
pub fn deliver_at_once(house: &super::house::House, entry: &crate::queue::EntryId) {
    relay::accept(&house.relay, entry);
}
