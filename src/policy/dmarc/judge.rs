//! Whether a letter proves that its author's domain sent it (RFC 9989 sections 4.10.2 and 5.3).

use super::record::{Psd, Record};
use super::walk::{Relation, Seen, Walk};
use super::{DmarcEvidence, DmarcPolicy, DmarcResult};
use crate::mail::address::Domain;
use std::fmt;

/// A name that SPF or DKIM vouches for, or may vouch for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identifier {
    /// The domain of MAIL FROM (of HELO for `<>`), or `d=`.
    pub domain: Domain,
    /// Who vouches.
    pub mechanism: Mechanism,
    /// None where it passes; the words of the fault where that cannot be told now. What fails is no identifier.
    pub fault: Option<String>,
}

/// Who vouches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mechanism {
    /// SPF.
    Spf,
    /// DKIM.
    Dkim,
}

/// An author of a letter.
#[derive(Clone, Debug)]
pub struct Author {
    /// The domain of a From mailbox.
    pub domain: Domain,
    /// The walk from there.
    pub walk: Walk,
    /// Whether the domain exists; none where nobody needs to know, else an answer or the words of a fault.
    pub exists: Option<Result<bool, String>>,
}

impl Author {
    /// Whether it matters if the domain exists: the record that applies stands above it and has an `np=` that differs from what
    /// those that exist get.
    pub fn existence_matters(&self) -> bool {
        match self.walk.applied() {
            Ok(Some((at, Record { asks: Ok(asks), .. }))) => {
                at != self.domain.as_str() && asks.below != asks.nonexistent
            }
            _ => false,
        }
    }

    /// Whether the walk from `identifier` matters: it is another domain, and the record (as far as it is known) is content with
    /// one that is related.
    pub fn asks_about(&self, identifier: &Identifier) -> bool {
        let Ok(Some((_, record))) = self.walk.applied() else { return false };
        identifier.domain != self.domain
            && !identifier.mechanism.is_strict(record)
            && self.walk.may_relate(&identifier.domain)
    }

    /// Judges the letter for this author. `walk_of` gives the walks that [`Author::asks_about`].
    pub fn judge<'w>(
        &self,
        identifiers: &[Identifier],
        walk_of: impl Fn(&Domain) -> Option<&'w Walk>,
    ) -> DmarcEvidence {
        let mut steps: Vec<String> = self.walk.steps().map(|(name, seen)| step(name, seen)).collect();
        let (record_at, record) = match self.walk.applied() {
            Ok(Some((at, record))) => (at.to_owned(), record),
            Ok(None) => {
                let why = format!("{} has no DMARC record, nor has a domain above it", self.domain);
                return self.evidence(DmarcResult::None, DmarcPolicy::None, None, why, steps);
            }
            Err(words) => return self.without_record(identifiers, words, steps),
        };
        let asks = match &record.asks {
            Ok(_) => self.policy(&record_at, record),
            Err(why) => {
                let why = format!("the DMARC record of {record_at} cannot be used: {why}");
                let result = DmarcResult::PermError(why.clone());
                return self.evidence(result, DmarcPolicy::None, Some(record_at), why, steps);
            }
        };
        steps.extend(asks.step);
        let aligned = identifiers.iter().map(|one| (one, self.alignment(one, record, &walk_of)));
        let aligned: Vec<(&Identifier, Alignment)> = aligned.collect();
        steps.extend(
            aligned.iter().map(|(one, alignment)| format!("{one}: {}", alignment.words(&self.domain))),
        );
        let (result, why) = conclude(&self.domain, &aligned, asks.fault);
        self.evidence(result, asks.policy, Some(record_at), why, steps)
    }

    /// No record could be read: only the author's own domain, which is aligned whatever its record says, can pass. What it asks
    /// for may be anything.
    fn without_record(
        &self,
        identifiers: &[Identifier],
        words: &str,
        mut steps: Vec<String>,
    ) -> DmarcEvidence {
        let identical = |one: &&Identifier| one.domain == self.domain && one.fault.is_none();
        let (result, why) = match identifiers.iter().find(identical) {
            Some(one) => {
                (DmarcResult::Pass, format!("{one} is the author's own, whatever its DMARC record says"))
            }
            None => {
                let why = format!("the DMARC record for {} cannot be looked up now: {words}", self.domain);
                (DmarcResult::TempError(why.clone()), why)
            }
        };
        steps.push(why.clone());
        self.evidence(result, DmarcPolicy::Reject, None, why, steps)
    }

    /// Which of `p=`, `sp=` and `np=` applies (section 4.10.1).
    fn policy(&self, record_at: &str, record: &Record) -> Applied {
        let Ok(asks) = &record.asks else { return Applied::default() };
        let tested = |policy: DmarcPolicy| if record.testing { policy.weaker() } else { policy };
        if record_at == self.domain.as_str() {
            return Applied { policy: tested(asks.itself), ..Applied::default() };
        }
        let domain = &self.domain;
        match &self.exists {
            Some(Ok(false)) => Applied {
                policy: tested(asks.nonexistent),
                step: Some(format!("{domain} does not exist: np= applies")),
                fault: None,
            },
            // The stronger one is what a failure could lead to.
            Some(Err(words)) => Applied {
                policy: tested(asks.below.max(asks.nonexistent)),
                step: Some(format!("whether {domain} exists cannot be told now: {words}")),
                fault: Some(words.clone()),
            },
            Some(Ok(true)) | None => Applied { policy: tested(asks.below), ..Applied::default() },
        }
    }

    fn alignment<'w>(
        &self,
        one: &Identifier,
        record: &Record,
        walk_of: &impl Fn(&Domain) -> Option<&'w Walk>,
    ) -> Alignment {
        if one.domain == self.domain {
            return Alignment::Identical;
        }
        if one.mechanism.is_strict(record) {
            return Alignment::StrictlyNot;
        }
        if !self.walk.may_relate(&one.domain) {
            return Alignment::Not;
        }
        match walk_of(&one.domain).map(|walk| self.walk.relation(walk)) {
            Some(Relation::Same(organizational)) => Alignment::Relaxed(organizational),
            Some(Relation::Apart) => Alignment::Not,
            Some(Relation::Unknown(words)) => Alignment::Unknown(words),
            None => Alignment::Unknown("its domain was not looked up".into()),
        }
    }

    fn evidence(
        &self,
        result: DmarcResult,
        policy: DmarcPolicy,
        record_at: Option<String>,
        why: String,
        steps: Vec<String>,
    ) -> DmarcEvidence {
        DmarcEvidence { author: self.domain.clone(), result, policy, record_at, why, steps }
    }
}

/// The policy that applies, what to say about it, and whether a fault hides which one it is.
struct Applied {
    policy: DmarcPolicy,
    step: Option<String>,
    fault: Option<String>,
}

impl Default for Applied {
    fn default() -> Applied {
        Applied { policy: DmarcPolicy::None, step: None, fault: None }
    }
}

enum Alignment {
    Identical,
    Relaxed(String),
    Not,
    StrictlyNot,
    Unknown(String),
}

impl Alignment {
    fn is_aligned(&self) -> bool {
        matches!(self, Alignment::Identical | Alignment::Relaxed(_))
    }

    fn words(&self, author: &Domain) -> String {
        match self {
            Alignment::Identical => format!("aligned with {author}, the same domain"),
            Alignment::Relaxed(top) => format!("aligned with {author}, relaxed: both belong to {top}"),
            Alignment::Not => format!("not aligned with {author}"),
            Alignment::StrictlyNot => format!("not {author} itself, which its record asks for"),
            Alignment::Unknown(words) => {
                format!("whether it is aligned with {author} cannot be told now: {words}")
            }
        }
    }
}

/// Pass, fail, or (where an answer that is missing could turn a failure into a pass) neither.
fn conclude(
    author: &Domain,
    aligned: &[(&Identifier, Alignment)],
    policy_fault: Option<String>,
) -> (DmarcResult, String) {
    let passing = aligned.iter().filter(|(one, _)| one.fault.is_none());
    if let Some((one, alignment)) = passing.clone().find(|(_, alignment)| alignment.is_aligned()) {
        return (DmarcResult::Pass, format!("{one} is {}", alignment.words(author)));
    }
    let open = aligned.iter().find_map(|(one, alignment)| match (&one.fault, alignment) {
        (_, Alignment::Unknown(words)) | (Some(words), Alignment::Identical | Alignment::Relaxed(_)) => {
            Some((one, words))
        }
        _ => None,
    });
    if let Some((one, words)) = open {
        let why = format!("{one} may be what {author} needs, but that cannot be looked up now: {words}");
        return (DmarcResult::TempError(why.clone()), why);
    }
    let mut others: Vec<String> = passing.map(|(one, _)| one.to_string()).collect();
    others.dedup();
    let why = match others.as_slice() {
        [] => format!("neither SPF nor DKIM passes for {author} or any other domain"),
        [one] => format!("{one} passes, but that is not aligned with {author}"),
        others => format!("{} pass, but none of them is aligned with {author}", others.join(", ")),
    };
    match policy_fault {
        Some(words) => {
            let why = format!("{why}; which policy applies cannot be looked up now: {words}");
            (DmarcResult::TempError(why.clone()), why)
        }
        None => (DmarcResult::Fail, why),
    }
}

impl Mechanism {
    fn is_strict(self, record: &Record) -> bool {
        match self {
            Mechanism::Spf => record.strict_spf,
            Mechanism::Dkim => record.strict_dkim,
        }
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mechanism = match self.mechanism {
            Mechanism::Spf => "SPF",
            Mechanism::Dkim => "DKIM",
        };
        write!(f, "{mechanism} of {}", self.domain)
    }
}

fn step(name: &str, seen: &Seen) -> String {
    let what = match seen {
        Seen::Nothing => "no record".to_owned(),
        Seen::Several(count) => format!("{count} records, which count as none"),
        Seen::Fault(words) => format!("no answer: {words}"),
        Seen::Record(record) => shown(record),
    };
    format!("_dmarc.{name}: {what}")
}

/// What was understood of a record, in its own words.
fn shown(record: &Record) -> String {
    let mut text = match &record.asks {
        Ok(asks) => format!("p={} sp={} np={}", asks.itself, asks.below, asks.nonexistent),
        Err(why) => format!("a record of no use: {why}"),
    };
    let flags = [
        (record.strict_dkim, " adkim=s"),
        (record.strict_spf, " aspf=s"),
        (record.psd == Psd::Yes, " psd=y"),
        (record.psd == Psd::No, " psd=n"),
        (record.testing, " t=y"),
    ];
    flags.iter().filter(|(set, _)| *set).for_each(|(_, flag)| text.push_str(flag));
    text
}
