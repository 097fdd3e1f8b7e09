//! The DNS tree walk (RFC 9989 section 4.10): the names that are asked for a record, and what follows from the answers.

use super::record::{Psd, Record};
use crate::mail::address::Domain;

/// Labels that are left of a longer name after its first step: eight questions at most (section 4.10, step 4).
const KEPT_LABELS: usize = 7;
/// Faults among the answers to two walks for which it is worked out whether they matter.
const MOST_FAULTS: usize = 3;

/// What was found at a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// No record.
    Nothing,
    /// So many records, which count as none.
    Several(usize),
    /// A record.
    Record(Record),
    /// DNS gave no answer: the words of the fault.
    Fault(String),
}

/// The walk from one domain upwards, with what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// The domains, the first one first; it ends with the first record that has `psd=y` or `psd=n`.
    steps: Vec<(String, Seen)>,
}

/// The domains of a walk that nothing stops, from `domain` upwards: at most eight. The records are at `_dmarc.` below each.
pub fn names(domain: &Domain) -> Vec<&str> {
    let name = domain.as_str();
    let mut names = vec![name];
    let parents = name.match_indices('.').filter_map(|(dot, _)| name.get(dot + 1..));
    names.extend(parents.filter(|parent| labels(parent) <= KEPT_LABELS));
    names
}

/// Whether two domains are in one hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Both have this organizational domain.
    Same(String),
    /// They have different ones.
    Apart,
    /// That depends on an answer which is missing: the words of the fault.
    Unknown(String),
}

impl Walk {
    /// The walk from `domain`, where `look` tells what is at a name.
    pub fn new(domain: &Domain, look: impl Fn(&str) -> Seen) -> Walk {
        let mut steps = Vec::new();
        for name in names(domain) {
            let seen = look(name);
            let stops = matches!(&seen, Seen::Record(record) if record.psd != Psd::Unsaid);
            steps.push((name.to_owned(), seen));
            if stops {
                break;
            }
        }
        Walk { steps }
    }

    /// The names that were asked, and what was found at each.
    pub fn steps(&self) -> impl Iterator<Item = (&str, &Seen)> {
        self.steps.iter().map(|(name, seen)| (name.as_str(), seen))
    }

    /// The record that applies to letters of the first domain, and where it is: its own, or that of its organizational domain, or
    /// that of the public suffix (section 4.10.1). The error is the words of a fault that may hide another one.
    pub fn applied(&self) -> Result<Option<(&str, &Record)>, &str> {
        if let Some((name, Seen::Record(record))) = self.steps.first() {
            return Ok(Some((name, record)));
        }
        if let Some(words) = self.faults().map(|(_, words)| words).next() {
            return Err(words);
        }
        let organizational = self.organizational(&|_| None);
        let at = |wanted: &str| self.records().find(|(name, _)| *name == wanted);
        // What stopped the walk, or else the highest record, is last.
        Ok(at(organizational).or_else(|| self.records().last()))
    }

    /// Whether both walks lead to the same organizational domain. Where faults are in the way, each is tried as every record that
    /// it may hide: only what all of them lead to is said.
    pub fn relation(&self, other: &Walk) -> Relation {
        let mut faults: Vec<(&str, &str)> = self.faults().chain(other.faults()).collect();
        faults.sort_unstable();
        faults.dedup_by_key(|(name, _)| *name);
        let Some((_, words)) = faults.first() else { return self.relation_if(other, &|_| None) };
        // A name under another top-level domain is apart whatever the records say.
        if self.top() != other.top() {
            return Relation::Apart;
        }
        let unknown = Relation::Unknown((*words).to_owned());
        if faults.len() > MOST_FAULTS {
            return unknown;
        }
        let cases = (0..HIDDEN.len().pow(faults.len() as u32)).map(|case| {
            self.relation_if(other, &|name| {
                let place = faults.iter().position(|(fault, _)| *fault == name)?;
                HIDDEN.get(case / HIDDEN.len().pow(place as u32) % HIDDEN.len()).copied().flatten()
            })
        });
        let cases: Vec<Relation> = cases.collect();
        match cases.as_slice() {
            [first, ..] if cases.iter().all(|case| *case == Relation::Apart) => first.clone(),
            // All agree, though perhaps not on the name: the one without any hidden record is said.
            [first, ..] if cases.iter().all(|case| matches!(case, Relation::Same(_))) => first.clone(),
            _ => unknown,
        }
    }

    /// Whether any organizational domain of this walk can be above `domain`: if not, nothing needs to be asked about it.
    pub fn may_relate(&self, domain: &Domain) -> bool {
        let within = |name: &str| {
            domain.as_str().strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        match self.faults().next() {
            None => within(self.organizational(&|_| None)),
            Some(_) => within(self.top()),
        }
    }

    fn relation_if(&self, other: &Walk, hidden: &dyn Fn(&str) -> Option<Psd>) -> Relation {
        let (ours, theirs) = (self.organizational(hidden), other.organizational(hidden));
        if ours == theirs { Relation::Same(ours.to_owned()) } else { Relation::Apart }
    }

    /// Section 4.10.2: from the longest name to the shortest, `psd=n` is the one, `psd=y` is one label above it (of the domain
    /// itself it says nothing); otherwise it is the shortest name with a record, and the domain itself where there is no record at all.
    fn organizational(&self, hidden: &dyn Fn(&str) -> Option<Psd>) -> &str {
        let start = self.start();
        let mut highest = start;
        for (name, seen) in &self.steps {
            let psd = match seen {
                Seen::Record(record) => Some(record.psd),
                Seen::Fault(_) => hidden(name),
                Seen::Nothing | Seen::Several(_) => None,
            };
            match psd {
                Some(Psd::Yes) => return one_label_below(name, start),
                Some(Psd::No) => return name,
                Some(Psd::Unsaid) => highest = name,
                None => (),
            }
        }
        highest
    }

    fn records(&self) -> impl Iterator<Item = (&str, &Record)> {
        self.steps().filter_map(|(name, seen)| match seen {
            Seen::Record(record) => Some((name, record)),
            _ => None,
        })
    }

    fn faults(&self) -> impl Iterator<Item = (&str, &str)> {
        self.steps().filter_map(|(name, seen)| match seen {
            Seen::Fault(words) => Some((name, words.as_str())),
            _ => None,
        })
    }

    fn start(&self) -> &str {
        self.steps.first().map_or("", |(name, _)| name)
    }

    fn top(&self) -> &str {
        let start = self.start();
        start.rsplit_once('.').map_or(start, |(_, top)| top)
    }
}

/// What an answer that did not come may have held.
const HIDDEN: [Option<Psd>; 4] = [None, Some(Psd::Unsaid), Some(Psd::No), Some(Psd::Yes)];

fn labels(name: &str) -> usize {
    name.split('.').count()
}

/// The part of `start` that has one label more than `above`; `start` where it is that name itself.
fn one_label_below<'a>(above: &str, start: &'a str) -> &'a str {
    let rest = start.strip_suffix(above).and_then(|rest| rest.strip_suffix('.')).unwrap_or_default();
    rest.rfind('.').and_then(|dot| start.get(dot + 1..)).unwrap_or(start)
}
