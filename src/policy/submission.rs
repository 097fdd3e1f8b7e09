//! Who may submit (docs/submission.md, rules 1 to 7): a pure function from evidence to an answer.
//!
//! The order of the steps, for the connection:
//!
//! 1. `trust::submission::Gathering::begin` with the whole header block, `body` with every slice, `finish` at the dot.
//! 2. [`decide`]: who is it, and may they? `Err` is the reply to give.
//! 3. `queue.claim` with the marks of [`Accepted`]: nonces are looked up before the time is, so that the retry of a letter
//!    that was committed gets its 250 however late it comes. `Seen::Same`: 250 again; `Seen::InFlight`: [`in_flight`];
//!    `Seen::Different`: [`used`].
//! 4. Only for `Seen::New`: [`Accepted::fresh`]; its `Err` is the reply, and the claim is dropped.
//! 5. `queue.commit` of `Gathered::head` and the body: those bytes and no others.

mod afar;
mod bound;
mod identity;
mod sealed;

use super::signature::{CLOCK_SKEW, SignatureEvidence, Verdict};
use crate::config::Accept;
use crate::mail::address::{Address, Domain};
use crate::smtp::reply::Reply;

/// What an Envelope-Seal says. At home: what is to be written; on the server: what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// `t=`: Unix time, seconds.
    pub time: i64,
    /// `n=`: 128 random bits, 32 hex digits; kept for the letter's life.
    pub nonce: String,
    /// `sv=`: the server's host name, as its greeting says it.
    pub server: String,
    /// `mf=`: the envelope sender.
    pub sender: Address,
    /// `rt=`: the envelope recipients.
    pub recipients: Vec<Address>,
}

/// Everything that is known of a letter at the submission door. `Id` identifies an address's directory.
#[derive(Clone, Debug)]
pub struct Evidence<Id> {
    /// Unix time, seconds.
    pub now: i64,
    /// Our name, as the greeting says it.
    pub hostname: String,
    /// The accepted forms.
    pub accept: Vec<Accept>,
    /// How the connection came.
    pub channel: Channel<Id>,
    /// MAIL FROM.
    pub sender: Address,
    /// Whose address that is.
    pub owner: Id,
    /// The directory of that address itself: a topic's is not its owner's.
    pub mailbox: Id,
    /// RCPT TO.
    pub recipients: Vec<Address>,
    /// Rule 2: the header is in strict form, and every reader splits it alike; else what is wrong.
    pub form: Result<(), String>,
    /// The fields that say who wrote or sent the letter.
    pub claims: Vec<Claim<Id>>,
    /// Date, Unix time; none where it is missing or unreadable.
    pub date: Option<i64>,
    /// The Envelope-Seal fields.
    pub seals: Vec<Result<Seal, String>>,
    /// Signatures that may be the credential, verified on the stripped bytes.
    pub public: Vec<SignatureEvidence>,
    /// Signatures that name Envelope-Seal, verified on the full bytes.
    pub sealing: Vec<SignatureEvidence>,
    /// Signatures that were not looked at, and why.
    pub dismissed: Vec<Dismissed>,
    /// Marks of signatures with our `d=` and an owned `s=` beyond those that were looked at.
    pub unread: Vec<String>,
    /// SHA-256 of stripped content and envelope, hex.
    pub digest: String,
}

/// How a connection came to the submission door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel<Id> {
    /// Through `gate submit`, by an ssh key that may send as these.
    Gate(Vec<Permit<Id>>),
    /// TCP on a loopback address.
    Loopback,
    /// TCP under TLS from anywhere in the world: nothing but the seal and its key speaks for whoever comes.
    World,
}

/// What a forced command names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permit<Id> {
    /// Every address of a domain.
    Domain(Domain),
    /// The directory of an address, with its topics and aliases; or of one topic, and then nothing else of its owner.
    Directory(Id),
}

/// A field that names people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim<Id> {
    /// Which.
    pub field: ClaimField,
    /// Its mailboxes, each with its owner if it is an address here; or why it cannot be read.
    pub mailboxes: Result<Vec<(Address, Option<Id>)>, String>,
}

/// The fields that must name nobody else (rule 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimField {
    /// From.
    From,
    /// Sender.
    Sender,
    /// Resent-From.
    ResentFrom,
    /// Resent-Sender.
    ResentSender,
}

/// A signature that was not looked at: DNS was not even asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dismissed {
    /// It cannot be parsed, and why.
    Unparsable(String),
    /// Its `d=` is not the sender's domain.
    ForeignDomain(Domain),
    /// Its `s=` is not an address of the sender.
    ForeignSelector(String),
    /// Its `i=` names somebody else.
    ForeignIdentity(String),
}

/// A letter that may be submitted, if it was not before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Rule 4: the seal's nonce; none for a plain submission.
    pub nonce: Option<String>,
    /// SHA-256 of stripped content and envelope, hex.
    pub digest: String,
    /// Rule 5: the signatures that a commit spends.
    pub spends: Vec<String>,
    /// The selector and domain that proved it, for the log.
    pub by: String,
    times: Times,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Times {
    /// `t=` of the seal.
    Sealed(i64),
    /// Date and `t=` of the signatures.
    Plain(Vec<i64>),
}

/// Seconds that a plain letter may be old.
const PLAIN_WINDOW: i64 = 3600;

/// Whether this letter may be submitted by whoever brings it, times and repeats aside. `Err` is the reply: 5xx with the
/// rule and the remedy, or 451 where only DNS stands in the way.
pub fn decide<Id: PartialEq>(evidence: &Evidence<Id>) -> Result<Accepted, Reply> {
    strict_form(evidence)?;
    if matches!(evidence.channel, Channel::World) {
        return afar::decide(evidence);
    }
    ssh_key_counts(evidence)?;
    identity::names_nobody_else(evidence)?;
    match evidence.seals.as_slice() {
        // Rule 3: what has a seal is judged as sealed, never as plain.
        [_, ..] => {
            sealed_allowed(evidence)?;
            let seal = sealed::envelope(evidence)?;
            let by = sealed::signatures(evidence)?;
            Ok(accepted(evidence, by, Some(seal.nonce.clone()), Times::Sealed(seal.time)))
        }
        [] => {
            plain_allowed(evidence)?;
            let good = bound::public(evidence)?;
            let signed = good.iter().filter_map(|signature| signature.time);
            let times = Times::Plain(signed.chain(evidence.date).collect());
            Ok(accepted(evidence, good, None, times))
        }
    }
}

impl Accepted {
    /// Whether the letter is of now; to be asked only after its marks were looked up and found new (rules 3, 4 and 6).
    pub fn fresh(&self, now: i64) -> Result<(), Reply> {
        match &self.times {
            Times::Sealed(time) if (now - time).abs() <= CLOCK_SKEW => Ok(()),
            Times::Sealed(time) => Err(clocks("the seal's t=", *time, now)),
            // The latest counts: a letter of now whose Date is of next year must not count once more next year, when
            // its signature is no longer known as spent.
            Times::Plain(times) => match times.iter().max() {
                Some(latest) if (now - latest).abs() <= PLAIN_WINDOW => Ok(()),
                latest => Err(stale(latest.copied(), now)),
            },
        }
    }
}

/// What a reply to somebody in the world leaves out, for the log.
pub fn untold<Id: PartialEq>(evidence: &Evidence<Id>) -> Option<String> {
    match evidence.channel {
        Channel::World => afar::untold(evidence),
        Channel::Gate(_) | Channel::Loopback => None,
    }
}

/// The reply where the same marks are in flight on another connection (rule 4).
pub fn in_flight() -> Reply {
    Reply::new(
        451,
        7,
        1,
        "rule 4 (once): this very letter is being submitted on another connection; try again",
    )
}

/// The reply where the nonce or a signature was used for something else (rules 4 and 5); `what` is the queue's
/// sentence.
pub fn used(what: &str) -> Reply {
    refusal(1, format!("rules 4 and 5 (once, spent): {what}"))
}

/// Rule 2.
fn strict_form<Id>(evidence: &Evidence<Id>) -> Result<(), Reply> {
    evidence
        .form
        .as_ref()
        .map_err(|why| refusal(7, format!("rule 2 (strict form): {why}; correct the header")))?;
    Ok(())
}

/// Rule 7: the session is tied to the addresses that the forced command names.
fn ssh_key_counts<Id: PartialEq>(evidence: &Evidence<Id>) -> Result<(), Reply> {
    let Channel::Gate(permits) = &evidence.channel else { return Ok(()) };
    let permitted = permits.iter().any(|permit| match permit {
        Permit::Domain(domain) => evidence.sender.domain() == Some(domain),
        Permit::Directory(named) => *named == evidence.owner || *named == evidence.mailbox,
    });
    if permitted {
        return Ok(());
    }
    Err(refusal(
        1,
        format!(
            "rule 7 (ssh key): this ssh key may not send as {}; add the address to its line in authorized_keys",
            evidence.sender
        ),
    ))
}

/// Whether sealed letters are taken at all.
fn sealed_allowed<Id>(evidence: &Evidence<Id>) -> Result<(), Reply> {
    match evidence.accept.contains(&Accept::Sealed) {
        true => Ok(()),
        false => Err(refusal(
            1,
            "rule 3 (sealed): this server takes no letters with an Envelope-Seal; add \"sealed\" to submission.accept",
        )),
    }
}

/// Rule 6: whether a letter without a seal may be considered at all.
fn plain_allowed<Id>(evidence: &Evidence<Id>) -> Result<(), Reply> {
    if !evidence.accept.contains(&Accept::Plain) {
        return Err(refusal(
            1,
            "rule 3 (sealed): the letter has no Envelope-Seal; submit it with pillarbox sendmail \
             (or allow plain signatures: submission.accept)",
        ));
    }
    if !matches!(evidence.channel, Channel::Loopback) {
        return Err(refusal(
            1,
            "rule 6 (plain): a letter without an Envelope-Seal is taken on a loopback listener only; \
             submit it with pillarbox sendmail",
        ));
    }
    Ok(())
}

/// Rule 5: every bound signature that the letter carries is spent, whether or not it is the one that counted.
fn accepted<Id>(
    evidence: &Evidence<Id>,
    good: Vec<&SignatureEvidence>,
    nonce: Option<String>,
    times: Times,
) -> Accepted {
    let carried = evidence.public.iter().filter(|signature| may_count(signature)).map(|one| &one.mark);
    let mut spends: Vec<String> = carried.chain(&evidence.unread).cloned().collect();
    spends.sort_unstable();
    spends.dedup();
    let by = good.first().map(|signature| bound::key(signature)).unwrap_or_default();
    Accepted { nonce, digest: evidence.digest.clone(), spends, by, times }
}

/// Whether a signature counts, or might for the same letter another day (a key published later, DNS back again).
fn may_count(signature: &SignatureEvidence) -> bool {
    !matches!(signature.verdict, Verdict::BrokenBody | Verdict::Expired | Verdict::Unsupported(_))
}

/// Two clocks disagree: time or a corrected clock cures it.
fn clocks(what: &str, time: i64, now: i64) -> Reply {
    Reply::new(
        451,
        7,
        1,
        format!(
            "clocks differ: {what} says {time} ({}), this server's clock {now} ({}); more than {} minutes apart; \
             set the clock that is wrong",
            utc(time),
            utc(now),
            CLOCK_SKEW / 60
        ),
    )
}

fn stale(latest: Option<i64>, now: i64) -> Reply {
    let Some(latest) = latest else {
        return refusal(
            1,
            "rule 6 (plain): neither a signed Date nor t= in the signature; add a Date and sign it",
        );
    };
    let text = format!(
        "rule 6 (plain): the letter says {latest} ({}), this server's clock {now} ({}); more than an hour apart",
        utc(latest),
        utc(now)
    );
    // A letter from the future is taken when its time has come; one from the past never is.
    match latest > now {
        true => Reply::new(451, 7, 1, format!("{text}; set the clock that is wrong")),
        false => refusal(1, format!("{text}; sign it anew")),
    }
}

fn utc(time: i64) -> String {
    jiff::Timestamp::from_second(time).map_or_else(|_| "no date".into(), |timestamp| timestamp.to_string())
}

fn refusal(detail: u16, text: impl Into<String>) -> Reply {
    Reply::new(550, 7, detail, text)
}
