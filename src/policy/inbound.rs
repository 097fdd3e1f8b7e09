//! What becomes of a stranger's letter: from the evidence to accept, junk, refuse or defer.
//!
//! | rule | looks at | and decides |
//! |---|---|---|
//! | authors | From names more than ten domains | refuse |
//! | our name | From is in a domain of ours, no passing signature is aligned with it | refuse; deliver, marked, what a trusted forwarder signed |
//! | broken signature | a signature does not match, no other passes | refuse; nothing with `broken_dkim = "mark"` |
//! | DMARC | the author's domain disowns it: `p=reject`, `p=quarantine` | refuse, junk; deliver, marked, what a trusted forwarder signed |
//! | lists | a list of the owner's choice has the client's address | refuse; deliver, marked, what a trusted forwarder signed |
//!
//! Where the outcome hinges on an answer that DNS does not give now, a rule defers. The rule of our name, where it speaks,
//! wins over every other. Of the rest the harshest word counts: refuse, defer, junk, accept. An error in somebody's records
//! (permerror) never decides anything by itself.

use super::dmarc::{DmarcEvidence, DmarcResult};
use super::peer::PeerEvidence;
use super::signature::{SignatureEvidence, Verdict};
use super::spf::SpfEvidence;
use crate::config::BrokenDkim;
use crate::mail::address::Domain;
use crate::mail::form::Oddity;
use crate::smtp::reply::Reply;

mod rules;
mod sentence;
#[cfg(test)]
pub(in crate::policy) mod tests;

pub use sentence::sentence;

/// What is known of a letter at the mx door.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// What the owner wants.
    pub rules: Rules,
    /// The client.
    pub peer: PeerEvidence,
    /// What SPF says of MAIL FROM, or of HELO for a letter from `<>`.
    pub spf: SpfEvidence,
    /// The domain of each From mailbox, of every From field, or of Sender where From has none; of more than [`MOST_AUTHORS`]
    /// the first ones and one more.
    pub authors: Vec<Author>,
    /// The signatures that were looked at.
    pub signatures: Vec<SignatureEvidence>,
    /// What DMARC says, for each author.
    pub dmarc: Vec<DmarcEvidence>,
    /// What is odd in its form.
    pub form: Vec<Oddity>,
}

/// The owner's rules, `[inbound]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The rule for broken signatures.
    pub broken_dkim: BrokenDkim,
    /// `trusted_forwarders`.
    pub trusted_forwarders: Vec<Domain>,
}

/// More domains than this no honest From names, and each is looked up.
pub const MOST_AUTHORS: usize = 10;

/// The domain of a From mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The domain.
    pub domain: Domain,
    /// Whether it is one of ours.
    pub ours: bool,
    /// Whether it stands in a display name or a quoted local part only. Readers who show nothing else must not be shown our
    /// name; DMARC is about addresses.
    pub in_name: bool,
}

/// What is to be done, mildest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It comes in.
    Accept,
    /// It comes in, among the junk.
    Junk,
    /// It may come again: 4xx.
    Defer(Reply),
    /// It stays out: 5xx.
    Refuse(Reply),
}

/// A decision, and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What is to be done.
    pub ruling: Ruling,
    /// Why, where a rule spoke: for the log and the reader.
    pub because: Option<String>,
    /// Each rule that was asked, and what it said.
    pub steps: Vec<Step>,
}

/// What one rule said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The rule's name.
    pub rule: &'static str,
    /// What it said; none: it has nothing to say.
    pub said: Option<String>,
}

/// A rule's word.
struct Word {
    ruling: Ruling,
    why: String,
    /// No other rule is asked.
    last: bool,
}

impl Ruling {
    /// How harsh it is.
    pub fn severity(&self) -> u8 {
        match self {
            Ruling::Accept => 0,
            Ruling::Junk => 1,
            Ruling::Defer(_) => 2,
            Ruling::Refuse(_) => 3,
        }
    }

    /// In one word.
    pub fn word(&self) -> &'static str {
        match self {
            Ruling::Accept => "accept",
            Ruling::Junk => "junk",
            Ruling::Defer(_) => "defer",
            Ruling::Refuse(_) => "refuse",
        }
    }

    /// The reply that keeps the letter out.
    pub fn refusal(&self) -> Option<&Reply> {
        match self {
            Ruling::Accept | Ruling::Junk => None,
            Ruling::Defer(reply) | Ruling::Refuse(reply) => Some(reply),
        }
    }
}

/// The table of this module.
pub fn decide(evidence: &Evidence) -> Decision {
    let mut steps = Vec::new();
    let mut harshest: Option<Word> = None;
    for (rule, ask) in rules::TABLE {
        let word = ask(evidence);
        steps.push(Step { rule, said: word.as_ref().map(Word::told) });
        let Some(word) = word else { continue };
        let last = word.last;
        if harshest.as_ref().is_none_or(|before| before.ruling.severity() < word.ruling.severity()) {
            harshest = Some(word);
        }
        if last {
            break;
        }
    }
    match harshest {
        None => Decision { ruling: Ruling::Accept, because: None, steps },
        Some(word) => Decision { ruling: word.ruling, because: Some(word.why), steps },
    }
}

impl Word {
    fn told(&self) -> String {
        format!("{}: {}", self.ruling.word(), self.why)
    }
}

impl Evidence {
    /// As far as the envelope goes, before there is a letter.
    pub fn of_envelope(rules: Rules, peer: PeerEvidence, spf: SpfEvidence) -> Evidence {
        let (authors, signatures, dmarc, form) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Evidence { rules, peer, spf, authors, signatures, dmarc, form }
    }

    /// DMARC's outcome for the author whose domain asks for the most.
    pub fn dmarc(&self) -> Option<&DmarcEvidence> {
        let failed = |one: &&DmarcEvidence| one.result != DmarcResult::Pass;
        let worst = self.dmarc.iter().filter(failed).max_by_key(|one| one.policy);
        worst.or(self.dmarc.first())
    }

    /// Trusted forwarders' signatures on the letter that pass and cover every From: else whoever has a letter of the list
    /// puts another name on top of it.
    fn vouching_forwarder(&self) -> Option<&SignatureEvidence> {
        self.signatures.iter().find(|signature| self.is_forwarder(&signature.domain) && vouches(signature))
    }

    fn is_forwarder(&self, domain: &Domain) -> bool {
        self.rules.trusted_forwarders.contains(domain)
    }

    /// Signatures whose key DNS does not give now, with its words.
    fn faults(&self) -> impl Iterator<Item = (&SignatureEvidence, &str)> {
        self.signatures.iter().filter_map(|signature| match &signature.verdict {
            Verdict::TempFault(why) => Some((signature, why.as_str())),
            _ => None,
        })
    }
}

/// A signature that leaves one of several From fields out says nothing of the one that was added.
fn vouches(signature: &SignatureEvidence) -> bool {
    signature.passes() && signature.uncovered.as_deref() != Some("From")
}
