//! DMARC (RFC 9989): what a domain says about letters in its name that prove nothing.
//!
//! Pure: [`record`] reads what stands in DNS, [`walk`] says which names are asked and what follows from the answers, and
//! [`judge`] decides about one author. `trust/dmarc.rs` does the asking.

use crate::mail::address::Domain;
use std::fmt;

pub mod judge;
pub mod record;
pub mod walk;

#[cfg(test)]
mod tests;

/// What the domain owner asks for (`p=`, `sp=`, `np=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DmarcPolicy {
    /// Nothing.
    None,
    /// To put it aside.
    Quarantine,
    /// To refuse it.
    Reject,
}

/// The result of RFC 9989 and RFC 8601 section 2.7.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DmarcResult {
    /// There is no record.
    None,
    /// SPF or DKIM passes for a name that is aligned with the author's.
    Pass,
    /// There is a record, and neither does.
    Fail,
    /// DNS gave no answer that the outcome depends on, be it a record of DMARC, or what SPF or DKIM of an aligned name needs:
    /// the words of the fault.
    TempError(String),
    /// The record cannot be understood: in words.
    PermError(String),
}

impl DmarcResult {
    /// The word of RFC 8601 section 2.7.
    pub fn word(&self) -> &'static str {
        match self {
            DmarcResult::None => "none",
            DmarcResult::Pass => "pass",
            DmarcResult::Fail => "fail",
            DmarcResult::TempError(_) => "temperror",
            DmarcResult::PermError(_) => "permerror",
        }
    }
}

/// What was found out about one author domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DmarcEvidence {
    /// The domain of a From mailbox.
    pub author: Domain,
    /// The outcome.
    pub result: DmarcResult,
    /// What the domain asks for if the outcome is `Fail`: of `p=`, `sp=` and `np=` the one that applies, one step weaker where
    /// the record says `t=y`. With `TempError` it is what a `Fail` could lead to: see [`DmarcEvidence::open`].
    pub policy: DmarcPolicy,
    /// The domain whose record applies; none where there is none, or where it is not known.
    pub record_at: Option<String>,
    /// What decided, in our words: "DKIM of example.org, relaxed", "neither SPF … nor DKIM … is aligned".
    pub why: String,
    /// What was read and tried on the way, a line each, for `explain`.
    pub steps: Vec<String>,
}

impl DmarcEvidence {
    /// Whether the outcome of the letter depends on what DNS does not tell now: the words of the fault. A domain that asks for
    /// nothing leaves nothing open, whatever its letters prove.
    pub fn open(&self) -> Option<&str> {
        match &self.result {
            DmarcResult::TempError(words) if self.policy > DmarcPolicy::None => Some(words),
            _ => None,
        }
    }
}

impl DmarcPolicy {
    /// One step weaker, which is what `t=y` asks for (section 4.7).
    pub fn weaker(self) -> DmarcPolicy {
        match self {
            DmarcPolicy::Reject => DmarcPolicy::Quarantine,
            DmarcPolicy::Quarantine | DmarcPolicy::None => DmarcPolicy::None,
        }
    }
}

impl fmt::Display for DmarcPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DmarcPolicy::None => "none",
            DmarcPolicy::Quarantine => "quarantine",
            DmarcPolicy::Reject => "reject",
        })
    }
}
