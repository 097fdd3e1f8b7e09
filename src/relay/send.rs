//! One letter to one destination: one transaction for all its recipients there, each one's fate made durable.

use super::{Parts, bounce, dice, route, unix_time};
use crate::mail::address::Host;
use crate::mail::dsn::Diagnosis;
use crate::mail::envelope::Envelope;
use crate::net::exchange::exchange;
use crate::policy::retry::{self, Next};
use crate::queue::{Entry, EntryId, RecipientState, State};
use crate::smtp::client::{Fate, Outcome, Request};
use crate::smtp::reply::Reply;
use crate::store::StoreError;
use crate::system::threads::blocking;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(30);
/// How many addresses of a destination are tried in one attempt.
const ADDRESSES: usize = 6;
/// How many of one host's: behind a host with many dead addresses stands another one.
const ADDRESSES_EACH: usize = 3;
/// The longest pause between two tries to record what became of a letter.
const RECORD_PAUSE: Duration = Duration::from_secs(60);

/// An entry that several destinations work on; loaded by the first one.
pub(super) type Shared = Arc<Mutex<Option<Entry>>>;

/// What is to be sent.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) id: EntryId,
    pub(super) destination: Host,
    pub(super) shared: Shared,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Sent {
    /// When the entry is due again; none if it is finished.
    pub(super) next_attempt: Option<i64>,
    /// No server of the destination could be spoken to: there is no use in trying the next letter now.
    pub(super) unreachable: Option<String>,
}

/// A recipient's fate, with the host that decided it.
#[derive(Clone, Debug)]
enum Verdict {
    Delivered(String),
    Failed(Diagnosis),
    Deferred(Diagnosis),
}

/// The due recipients at a destination, as places in the entry, and what is to be said there.
struct Errand {
    recipients: Vec<usize>,
    request: Request,
}

/// Sends, and records what came of it.
pub(super) async fn send(parts: Parts, job: Job) -> Sent {
    match prepare(&parts, &job).await {
        Ok(Some(errand)) => {
            let (verdicts, unreachable) = attempt(&parts, &job, errand.request).await;
            let next_attempt = conclude(parts, job, errand.recipients, verdicts).await;
            Sent { next_attempt, unreachable }
        }
        Ok(None) => nothing_due(&job),
        Err(error) => fault(&job, &error),
    }
}

/// Puts all recipients of the destination off without trying, since another letter has just found it unreachable.
pub(super) async fn postpone(parts: Parts, job: Job, why: String) -> Sent {
    match prepare(&parts, &job).await {
        Ok(Some(errand)) => {
            let verdicts = vec![deferred(why, None); errand.recipients.len()];
            let next_attempt = conclude(parts, job, errand.recipients, verdicts).await;
            Sent { next_attempt, unreachable: None }
        }
        Ok(None) => nothing_due(&job),
        Err(error) => fault(&job, &error),
    }
}

/// The entry is gone, or nobody at the destination is due.
fn nothing_due(job: &Job) -> Sent {
    Sent { next_attempt: lock(&job.shared).as_ref().and_then(Entry::next_attempt), unreachable: None }
}

fn fault(job: &Job, error: &StoreError) -> Sent {
    tracing::error!(id = %job.id, %error, "a queued letter cannot be read; tried again");
    let next_attempt = Some(unix_time().saturating_add(retry::wait(1, dice())));
    Sent { next_attempt, unreachable: None }
}

/// The due recipients at the destination, in the order of the entry.
fn due_there(entry: &Entry, destination: &Host, now: i64) -> Vec<usize> {
    let due = |r: &RecipientState| r.is_due(now);
    let there = |r: &RecipientState| r.recipient.address.host() == destination;
    let states = entry.recipients.iter().enumerate();
    states.filter(|(_, r)| due(r) && there(r)).map(|(index, _)| index).collect()
}

async fn prepare(parts: &Parts, job: &Job) -> Result<Option<Errand>, StoreError> {
    let (parts, job) = (parts.clone(), job.clone());
    blocking(move || {
        let mut slot = lock(&job.shared);
        if slot.is_none() {
            *slot = parts.queue.load(&job.id)?;
        }
        let Some(entry) = slot.as_ref() else { return Ok(None) };
        let due = due_there(entry, &job.destination, unix_time());
        let there = due.iter().filter_map(|&index| entry.recipients.get(index));
        let recipients: Vec<_> = there.map(|state| state.recipient.clone()).collect();
        if recipients.is_empty() {
            return Ok(None);
        }
        let request = Request {
            helo: parts.hostname.to_string(),
            envelope: Envelope { sender: entry.envelope.sender.clone(), recipients },
            size: entry.size,
            eight_bit: entry.eight_bit,
            all_or_none: false,
        };
        Ok(Some(Errand { recipients: due, request }))
    })
    .await
}

/// One verdict per recipient; and why the destination is unreachable, if it is.
async fn attempt(parts: &Parts, job: &Job, request: Request) -> (Vec<Verdict>, Option<String>) {
    let count = request.envelope.recipients.len();
    let hosts = match route::find(&parts.dns, &job.destination, &parts.hostname).await {
        route::Route::Hosts(hosts) => hosts,
        route::Route::Never(diagnosis) => return (vec![Verdict::Failed(diagnosis); count], None),
        route::Route::Later(why) => return (vec![deferred(why.clone(), None); count], Some(why)),
    };
    // What was said last, by whom if by a server.
    let (mut why, mut who) = ("no server was found".to_owned(), None);
    let mut left = ADDRESSES;
    for host in hosts {
        if left == 0 {
            break;
        }
        let addresses = match route::addresses(&parts.dns, &host, parts.config.allow_private).await {
            Ok(addresses) => addresses,
            Err(error) => {
                why = error;
                continue;
            }
        };
        for ip in addresses.into_iter().take(left.min(ADDRESSES_EACH)) {
            left -= 1;
            match visit(parts, job, &request, ip).await {
                Visit::Decided(outcome) => return (verdicts(outcome, &host, ip), None),
                Visit::Deferred(words) => (why, who) = (words, Some(host.clone())),
                Visit::Unreachable(words) => why = format!("{host} [{ip}]: {words}"),
            }
        }
    }
    // One that answers and puts this letter off (greylisting, a full mailbox) may well take the next one.
    let unreachable = who.is_none().then(|| why.clone());
    (vec![deferred(why, who.as_ref()); count], unreachable)
}

/// What came of one server.
enum Visit {
    /// It decided about somebody, or has the letter.
    Decided(Outcome),
    /// It put everybody off before the letter was sent: another server may take it (RFC 5321 section 5.1).
    Deferred(String),
    /// No connection, no greeting, or one that sends us away.
    Unreachable(String),
}

async fn visit(parts: &Parts, job: &Job, request: &Request, ip: IpAddr) -> Visit {
    let peer = SocketAddr::new(ip, parts.config.port);
    let mut stream = match connect(peer, parts.config.allow_private).await {
        Ok(stream) => stream,
        Err(error) => return Visit::Unreachable(error),
    };
    let mut greeted = false;
    let open = |_: &str| {
        greeted = true;
        let file = parts.queue.open_message(&job.id).map_err(std::io::Error::other)?;
        Ok(tokio::fs::File::from_std(file))
    };
    let outcome = exchange(&mut stream, request.clone(), open).await;
    match outcome.fates.first() {
        Some(Fate::Deferred(words)) if nothing_came_of(&outcome) => match greeted {
            true => Visit::Deferred(words.clone()),
            false => Visit::Unreachable(words.clone()),
        },
        _ => Visit::Decided(outcome),
    }
}

fn nothing_came_of(outcome: &Outcome) -> bool {
    !outcome.dot_sent && outcome.fates.iter().all(|fate| matches!(fate, Fate::Deferred(_)))
}

async fn connect(peer: SocketAddr, allow_private: bool) -> Result<TcpStream, String> {
    let stream = match tokio::time::timeout(CONNECT, TcpStream::connect(peer)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(format!("no connection: {error}")),
        Err(_) => return Err(format!("no connection within {} seconds", CONNECT.as_secs())),
    };
    let ends = stream.peer_addr().and_then(|peer| Ok((peer.ip(), stream.local_addr()?.ip())));
    let (there, here): (IpAddr, IpAddr) = ends.map_err(|error| format!("no connection: {error}"))?;
    // What counts is the address that was really connected to.
    if !allow_private && (!route::is_public(there) || there == here) {
        return Err("not a public address of another host".into());
    }
    // Nagle and delayed acknowledgements cost 40 ms a letter.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

fn verdicts(outcome: Outcome, host: &Host, ip: IpAddr) -> Vec<Verdict> {
    let verdict = |fate| match fate {
        Fate::Accepted(reply) => Verdict::Delivered(format!("{host} [{ip}]: {reply}")),
        Fate::Refused(reply) => Verdict::Failed(diagnosis(&reply, host)),
        Fate::Deferred(why) => deferred(why, Some(host)),
    };
    outcome.fates.into_iter().map(verdict).collect()
}

fn diagnosis(reply: &Reply, host: &Host) -> Diagnosis {
    let status = reply.enhanced.unwrap_or((5, 0, 0));
    Diagnosis { status, words: reply.to_string(), host: Some(host.to_string()) }
}

fn deferred(words: String, host: Option<&Host>) -> Verdict {
    Verdict::Deferred(Diagnosis { status: (4, 4, 7), words, host: host.map(Host::to_string) })
}

/// Makes the verdicts durable; comes back only when they are, since what is not recorded is sent again. Says when the
/// entry is due again.
async fn conclude(parts: Parts, job: Job, recipients: Vec<usize>, verdicts: Vec<Verdict>) -> Option<i64> {
    let (applying, shared) = (parts.clone(), Arc::clone(&job.shared));
    blocking(move || apply(&applying, &shared, recipients, verdicts)).await;
    record(&parts, &job.shared).await
}

/// Reports are durable behind this, the states not yet.
fn apply(parts: &Parts, shared: &Shared, recipients: Vec<usize>, verdicts: Vec<Verdict>) {
    let mut slot = lock(shared);
    let Some(entry) = slot.as_mut() else { return };
    let now = unix_time();
    let mut states = std::mem::take(&mut entry.recipients);
    for (index, verdict) in recipients.into_iter().zip(verdicts) {
        if let Some(state) = states.get_mut(index) {
            judge(parts, entry, state, verdict, now);
        }
    }
    entry.recipients = states;
}

fn judge(parts: &Parts, entry: &Entry, recipient: &mut RecipientState, verdict: Verdict, now: i64) {
    let to = recipient.recipient.address.clone();
    let outcome = match verdict {
        Verdict::Delivered(by) => {
            tracing::info!(id = %entry.id, %to, by, "relayed");
            recipient.state = State::Delivered { to: by, tls: None };
            Ok(())
        }
        Verdict::Failed(diagnosis) => bounce::give_up(parts, entry, recipient, &diagnosis),
        Verdict::Deferred(diagnosis) => match parts.next(entry, recipient, now) {
            Next::GiveUp => {
                let status = (5, 4, 7);
                bounce::give_up(parts, entry, recipient, &Diagnosis { status, ..diagnosis })
            }
            Next::At(at) => put_off(parts, entry, recipient, &diagnosis, at, now),
        },
    };
    if let Err(error) = outcome {
        tracing::error!(id = %entry.id, %to, %error, "no report could be written; the letter is tried again");
        parts.put_off_for_fault(recipient, &error, now);
    }
}

fn put_off(
    parts: &Parts,
    entry: &Entry,
    recipient: &mut RecipientState,
    diagnosis: &Diagnosis,
    at: i64,
    now: i64,
) -> Result<(), StoreError> {
    let reason = match &diagnosis.host {
        Some(host) => format!("{host}: {}", diagnosis.words),
        None => diagnosis.words.clone(),
    };
    tracing::info!(id = %entry.id, to = %recipient.recipient.address, reason, again_in = at - now, "put off");
    parts.put_off(recipient, reason, at);
    if !recipient.warned && retry::is_late(entry.arrived, now, parts.config.warn_after) {
        bounce::warn(parts, entry, recipient, diagnosis)?;
    }
    Ok(())
}

/// Records the entry's state, however long that takes. Says when it is due again.
pub(super) async fn record(parts: &Parts, shared: &Shared) -> Option<i64> {
    let mut pause = Duration::from_secs(1);
    loop {
        let (queue, shared) = (parts.queue.clone(), Arc::clone(shared));
        let outcome = blocking(move || match lock(&shared).as_ref() {
            Some(entry) => queue.record(entry).map(|()| entry.next_attempt()),
            None => Ok(None),
        });
        match outcome.await {
            Ok(next) => return next,
            Err(error) => {
                tracing::error!(%error, "what became of a letter cannot be recorded; trying until it can")
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RECORD_PAUSE);
    }
}

/// Each change to the entry is whole before the lock is given back.
pub(super) fn lock(shared: &Shared) -> MutexGuard<'_, Option<Entry>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
