//! What DNSSEC says of an answer, whoever checks it; CNAMEs are followed here, with all that vouches for them.

use super::anchors::Anchors;
use super::upstream::{Upstream, frugal};
use super::validator::{Checked, Validator};
use super::{Answer, DnsError, TRY, proofs, told};
use crate::config::{self, Dnssec};
use hickory_resolver::net::{DnsError as WireError, NetError};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use std::net::SocketAddr;

#[cfg(test)]
mod tests;

/// How many CNAMEs are followed, as many as the crate's resolver follows.
const HOPS: usize = 8;
/// How many records of an answer are looked at.
const RECORDS: usize = 100;
/// How long one question may take, with all that is asked to validate the answer.
const PATIENCE: u32 = 6;
/// How many others one question may cost, likewise; a few dozen are usual.
const QUESTIONS: u32 = 500;

/// Whoever vouches for answers.
pub(super) enum Oracle {
    /// Nobody.
    Nobody,
    /// The name servers, by the AD bit (RFC 6840 section 5.8).
    Servers(Upstream),
    /// We do.
    Ourselves(Box<Validator>),
}

/// An answer, and what stands behind it.
pub(super) struct Said {
    pub(super) answer: Answer,
    /// Whether it and every CNAME on the way are secure.
    pub(super) secure: bool,
    /// Whether what stands at the name itself is, a CNAME or the answer.
    pub(super) own_secure: bool,
    /// Where CNAMEs led to, if there were any.
    pub(super) alias: Option<Name>,
}

/// One message, each record with its proof.
struct Page {
    answers: Vec<Record>,
    code: ResponseCode,
    /// What is known of what the message says that there is not.
    denial: Proof,
}

impl Oracle {
    /// As configured; where nothing is, servers on this very machine are believed, and others are not.
    pub(super) fn new(config: &config::Dns, servers: Vec<SocketAddr>) -> Result<Oracle, DnsError> {
        let local = servers.iter().all(|server| server.ip().is_loopback());
        let upstream = Upstream::new(servers);
        match config.dnssec {
            Some(Dnssec::Off) => Ok(Oracle::Nobody),
            Some(Dnssec::Trust) => Ok(Oracle::Servers(upstream)),
            None if local => Ok(Oracle::Servers(upstream)),
            mode => {
                let anchors = config.anchors.as_deref().map_or_else(|| Ok(Anchors::root()), Anchors::read)?;
                Ok(Oracle::Ourselves(Box::new(Validator::new(upstream, anchors, mode.is_some()))))
            }
        }
    }

    /// Whether anybody vouches for anything just now. An error where somebody should.
    pub(super) async fn vouches(&self) -> Result<bool, DnsError> {
        match self {
            Oracle::Nobody => Ok(false),
            Oracle::Servers(_) => Ok(true),
            Oracle::Ourselves(validator) => validator.ready().await,
        }
    }

    /// One question, CNAMEs followed; nothing where nobody vouches for an answer, be it good or bad.
    pub(super) async fn ask(&self, name: &str, kind: RecordType) -> Result<Option<Said>, DnsError> {
        if !self.vouches().await? {
            return Ok(None);
        }
        let Ok(mut fqdn) = Name::from_ascii(name) else { return Ok(Some(Said::nothing())) };
        fqdn.set_fqdn(true);
        if is_special(&fqdn) {
            return Ok(Some(Said::nothing()));
        }
        match tokio::time::timeout(PATIENCE * TRY, frugal(QUESTIONS, self.follow(fqdn, kind))).await {
            Ok((Err(_), Some(fault))) => {
                Err(DnsError(format!("{kind} of {name}: it cannot be found out: {fault}")))
            }
            Ok((said, _)) => said.map(Some),
            Err(_) => Err(DnsError(format!("{kind} of {name}: no answer in time"))),
        }
    }

    async fn follow(&self, name: Name, kind: RecordType) -> Result<Said, DnsError> {
        let (mut current, mut secure, mut hops) = (name.clone(), true, 0);
        let mut own = None;
        loop {
            let asked = current.clone();
            let page = self.page(&asked, kind).await?;
            while let Some((target, proof)) = page.cname(&current) {
                secure &= self.is_secure(proof, kind, &current).await?;
                if own.is_none() {
                    own = Some(secure || self.is_secure_alias(&page, &current).await?);
                }
                (current, hops) = (target, hops + 1);
                if hops > HOPS {
                    return Err(DnsError(format!("{kind} of {}: more than {HOPS} CNAMEs", plain(&name))));
                }
            }
            let alias = (hops > 0).then(|| current.clone());
            let (records, proof) = page.records(&current, kind);
            if !records.is_empty() {
                secure &= self.is_secure(proof, kind, &current).await?;
                let own_secure = own.unwrap_or(secure);
                return Ok(Said { answer: Answer::Records(records), secure, own_secure, alias });
            }
            // What a message says that the end of its CNAMEs has not is asked there, where a proof of it is to be had.
            if current == asked {
                secure &= self.is_secure(page.denial, kind, &current).await?;
                let nothing = page.code == ResponseCode::NXDomain;
                let answer = if nothing { Answer::NoDomain } else { Answer::NoRecords };
                return Ok(Said { answer, secure, own_secure: own.unwrap_or(secure), alias });
            }
        }
    }

    /// What is insecure may be so only below an insecure delegation.
    async fn is_secure(&self, proof: Proof, kind: RecordType, name: &Name) -> Result<bool, DnsError> {
        let delegated = match (proof, self) {
            (Proof::Secure, _) => return Ok(true),
            (Proof::Insecure, Oracle::Ourselves(validator)) => validator.is_insecure(name).await,
            (Proof::Insecure, Oracle::Servers(_) | Oracle::Nobody) => Ok(true),
            (Proof::Bogus | Proof::Indeterminate, _) => Ok(false),
        };
        match delegated {
            Ok(true) => Ok(false),
            Ok(false) => Err(bogus(kind, name)),
            Err(error) => Err(DnsError(format!("{kind} of {}: {error}", plain(name)))),
        }
    }

    /// Whether an alias in an answer that is not secure is: the AD bit speaks for the worst of an answer, so the alias is
    /// asked for by itself (RFC 7672 section 2.2.2). Not where it follows from a DNAME: there unbound fails.
    async fn is_secure_alias(&self, page: &Page, name: &Name) -> Result<bool, DnsError> {
        let dname = page.answers.iter().any(|record| record.record_type() == RecordType::DNAME);
        if dname || !matches!(self, Oracle::Servers(_)) {
            return Ok(false);
        }
        let page = self.page(name, RecordType::CNAME).await?;
        Ok(page.cname(name).is_some_and(|(_, proof)| proof == Proof::Secure))
    }

    async fn page(&self, name: &Name, kind: RecordType) -> Result<Page, DnsError> {
        let (upstream, page) = match self {
            Oracle::Nobody => return Err(DnsError(format!("{kind} of {}: nobody is asked", plain(name)))),
            Oracle::Servers(upstream) => (
                upstream,
                upstream
                    .ask(request(name, kind, true))
                    .await
                    .map(|answer| Page::believed(answer.into_message())),
            ),
            Oracle::Ourselves(validator) => (
                validator.upstream(),
                validator.ask(name, kind).await.map(|checked| Page::checked(name, checked)),
            ),
        };
        match page {
            Ok(page) => Ok(page),
            // A server that validates says SERVFAIL of what is bogus, unless it is told not to check (RFC 4035 section 3.2.2).
            Err(NetError::Dns(WireError::ResponseCode(ResponseCode::ServFail)))
                if upstream.ask(request(name, kind, false)).await.is_ok() =>
            {
                Err(bogus(kind, name))
            }
            Err(NetError::Dns(WireError::ResponseCode(ResponseCode::ServFail))) => Err(servfail(kind, name)),
            Err(error) => Err(DnsError(format!("{kind} of {}: {}", plain(name), told(&error)))),
        }
    }
}

impl Said {
    fn nothing() -> Said {
        Said { answer: Answer::NoDomain, secure: false, own_secure: false, alias: None }
    }
}

impl Page {
    fn new(mut answers: Vec<Record>, code: ResponseCode, denial: Proof) -> Page {
        answers.retain(|record| record.record_type() != RecordType::RRSIG);
        answers.truncate(RECORDS);
        Page { answers, code, denial }
    }

    /// The AD bit speaks for all of answer and authority.
    fn believed(message: Message) -> Page {
        let proof = if message.authentic_data { Proof::Secure } else { Proof::Insecure };
        let (code, mut answers) = (message.response_code, message.answers);
        answers.iter_mut().for_each(|record| record.proof = proof);
        Page::new(answers, code, proof)
    }

    fn checked(name: &Name, checked: Checked) -> Page {
        let (denial, code) = (proofs::denial(name, &checked), checked.message.response_code);
        Page::new(proofs::answers(checked.message), code, denial)
    }

    fn cname(&self, name: &Name) -> Option<(Name, Proof)> {
        let records = self.answers.iter().filter(|record| record.name == *name);
        let mut targets = records.filter_map(|record| match &record.data {
            RData::CNAME(target) => Some((target.0.clone(), record.proof)),
            _ => None,
        });
        targets.next()
    }

    /// The records, and the worst of their proofs.
    fn records(&self, name: &Name, kind: RecordType) -> (Vec<RData>, Proof) {
        let wanted = |record: &&Record| record.name == *name && record.record_type() == kind;
        let found = || self.answers.iter().filter(wanted);
        let worst = found().map(|record| record.proof).min().unwrap_or_default();
        (found().map(|record| record.data.clone()).collect(), worst)
    }
}

fn bogus(kind: RecordType, name: &Name) -> DnsError {
    let name = plain(name);
    // Who wants no TLS is not asked for TLSA records; everything else has to be known to go anywhere.
    let relief = match kind {
        RecordType::TLSA => "",
        _ => " (relay.domains does not help against that)",
    };
    DnsError(format!(
        "{kind} of {name}: DNSSEC says that the answer is bogus; the domain's administrator has to mend it{relief}, \
         look at it with: delv {name} {kind}"
    ))
}

fn servfail(kind: RecordType, name: &Name) -> DnsError {
    let name = plain(name);
    DnsError(format!(
        "{kind} of {name}: the name servers cannot say (SERVFAIL); if that lasts, the domain's administrator has to mend it, \
         look at it with: delv {name} {kind}"
    ))
}

fn plain(name: &Name) -> String {
    let text = name.to_ascii();
    text.strip_suffix('.').filter(|rest| !rest.is_empty()).unwrap_or(&text).to_owned()
}

/// The AD bit says that we want to see it (RFC 6840 section 5.7); CD, that we want the answer at any rate.
fn request(name: &Name, kind: RecordType, check: bool) -> DnsRequest {
    let query = Query::query(name.clone(), kind);
    let mut request = DnsRequest::from_query(query, DnsRequestOptions::default());
    request.metadata.authentic_data = check;
    request.metadata.checking_disabled = !check;
    request
}

/// Names that are never asked for (RFC 6761, RFC 7686).
fn is_special(name: &Name) -> bool {
    let last = name.iter().next_back().map(<[u8]>::to_ascii_lowercase);
    last.is_some_and(|label| [&b"localhost"[..], b"invalid", b"onion"].contains(&&label[..]))
}
