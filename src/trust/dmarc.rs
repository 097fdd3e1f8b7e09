//! Asking DNS for DMARC (RFC 9989), in two parts: [`discover`] needs only the domains in From, so it can go on while the body
//! comes in; [`Discovery::judge`] needs to know what SPF and DKIM say. What follows from the answers is decided by
//! [`crate::policy::dmarc`].
//!
//! Every name is asked once for a letter, whoever needs it, and all of a part at the same time. An author costs eight
//! questions at most and one for whether the domain exists, a name that SPF or DKIM vouches for eight at most.

use super::all;
use super::record::KeySource;
use crate::mail::address::Domain;
use crate::net::dns::{Dns, DnsError};
use crate::policy::dmarc::judge::{Author, Identifier, Mechanism};
use crate::policy::dmarc::record;
use crate::policy::dmarc::walk::{Seen, Walk, names};
use crate::policy::dmarc::{DmarcEvidence, DmarcPolicy, DmarcResult};
use crate::policy::signature::{SignatureEvidence, Verdict};
use crate::policy::spf::{SpfEvidence, SpfResult};
use std::collections::{BTreeMap, BTreeSet};

/// Author domains that are looked up. A letter with more is never judged whole (RFC 9989 section 11.5): the rest is open, as if
/// DNS were down for it.
pub const MOST_AUTHORS: usize = 10;
/// Names that SPF and DKIM vouch for: one by SPF, ten by the signatures that are looked at.
const MOST_IDENTIFIERS: usize = 11;

/// Where records come from: DNS, or a table in tests.
pub trait DomainSource: KeySource {
    /// Whether a name exists at all: false for NXDOMAIN only (RFC 9989 section 3.2.13).
    fn exists(&self, name: &str) -> impl Future<Output = Result<bool, DnsError>> + Send;
}

impl DomainSource for Dns {
    async fn exists(&self, name: &str) -> Result<bool, DnsError> {
        Dns::exists(self, name).await
    }
}

/// What the domains in From say of themselves.
#[derive(Clone, Debug)]
pub struct Discovery {
    authors: Vec<Author>,
    /// Those beyond [`MOST_AUTHORS`].
    unseen: Vec<Domain>,
    known: Known,
}

/// Asks for what the author domains publish, each once.
pub async fn discover(authors: &[Domain], source: &impl DomainSource) -> Discovery {
    let mut distinct: Vec<&Domain> = Vec::new();
    for author in authors {
        if !distinct.contains(&author) {
            distinct.push(author);
        }
    }
    let (seen, unseen) = distinct.split_at(distinct.len().min(MOST_AUTHORS));
    let mut known = Known::default();
    known.ask(seen.iter().copied(), source).await;
    let mut authors: Vec<Author> = seen
        .iter()
        .map(|domain| Author { domain: (*domain).clone(), walk: known.walk(domain), exists: None })
        .collect();
    let doubtful = authors.iter_mut().filter(|author| author.existence_matters());
    all(doubtful.map(|author| async {
        let answer = source.exists(author.domain.as_str()).await;
        author.exists = Some(answer.map_err(|fault| fault.to_string()));
    }))
    .await;
    Discovery { authors, unseen: unseen.iter().map(|domain| (*domain).clone()).collect(), known }
}

impl Discovery {
    /// Judges the letter for each author domain, in their order. Asks about the domains of `identifiers` only where an author's
    /// record is content with a related one.
    pub async fn judge(
        mut self,
        identifiers: &[Identifier],
        source: &impl DomainSource,
    ) -> Vec<DmarcEvidence> {
        let identifiers: Vec<Identifier> = identifiers.iter().take(MOST_IDENTIFIERS).cloned().collect();
        let asked = identifiers.iter().filter(|one| self.authors.iter().any(|author| author.asks_about(one)));
        let asked: BTreeSet<&Domain> = asked.map(|one| &one.domain).collect();
        self.known.ask(asked.iter().copied(), source).await;
        let walks: BTreeMap<&Domain, Walk> =
            asked.into_iter().map(|domain| (domain, self.known.walk(domain))).collect();
        let judged = self.authors.iter().map(|author| author.judge(&identifiers, |domain| walks.get(domain)));
        judged.chain(self.unseen.iter().map(not_looked_up)).collect()
    }
}

/// Whom SPF and DKIM vouch for, or may vouch for when DNS answers again. A signature that leaves a From field out says nothing of
/// the author: whoever has the letter can put another From on top of it.
pub fn identifiers(spf: &SpfEvidence, signatures: &[SignatureEvidence]) -> Vec<Identifier> {
    let fault = match spf.result {
        SpfResult::Pass => Some(None),
        SpfResult::TempError => Some(Some(spf.why.clone())),
        _ => None,
    };
    let by_spf = fault.and_then(|fault| {
        let domain = Domain::parse(&spf.domain).ok()?;
        Some(Identifier { domain, mechanism: Mechanism::Spf, fault })
    });
    let by_dkim =
        signatures.iter().filter(|one| one.uncovered.as_deref() != Some("From")).filter_map(|one| {
            let fault = match &one.verdict {
                Verdict::Pass => None,
                Verdict::TempFault(words) => Some(words.clone()),
                _ => return None,
            };
            Some(Identifier { domain: one.domain.clone(), mechanism: Mechanism::Dkim, fault })
        });
    by_spf.into_iter().chain(by_dkim).collect()
}

/// What is at `_dmarc.` below names that were asked.
#[derive(Clone, Debug, Default)]
struct Known(BTreeMap<String, Seen>);

impl Known {
    /// Asks for the walks of all of `domains` what is not known yet.
    async fn ask(&mut self, domains: impl Iterator<Item = &Domain>, source: &impl DomainSource) {
        let wanted: BTreeSet<&str> =
            domains.flat_map(names).filter(|name| !self.0.contains_key(*name)).collect();
        let answers = all(wanted.iter().map(|name| look(name, source))).await;
        self.0.extend(wanted.into_iter().map(str::to_owned).zip(answers));
    }

    fn walk(&self, domain: &Domain) -> Walk {
        let unasked = || Seen::Fault(format!("_dmarc.{domain} was not looked up"));
        Walk::new(domain, |name| self.0.get(name).cloned().unwrap_or_else(unasked))
    }
}

async fn look(name: &str, source: &impl DomainSource) -> Seen {
    match source.txt(&format!("_dmarc.{name}")).await {
        Ok(texts) => match record::pick(&texts) {
            Ok(Some(record)) => Seen::Record(record),
            Ok(None) => Seen::Nothing,
            Err(count) => Seen::Several(count),
        },
        Err(fault) => Seen::Fault(fault.to_string()),
    }
}

fn not_looked_up(domain: &Domain) -> DmarcEvidence {
    let why = format!("From names more than {MOST_AUTHORS} domains: {domain} was not looked up");
    DmarcEvidence {
        author: domain.clone(),
        result: DmarcResult::TempError(why.clone()),
        policy: DmarcPolicy::Reject,
        record_at: None,
        steps: vec![why.clone()],
        why,
    }
}

#[cfg(test)]
mod tests;
