//! The rules, each a function that speaks or is silent.

use super::{Author, Evidence, MOST_AUTHORS, Ruling, Word, vouches};
use crate::config::BrokenDkim;
use crate::mail::address::Domain;
use crate::policy::dmarc::{DmarcEvidence, DmarcPolicy, DmarcResult};
use crate::policy::peer::ListAnswer;
use crate::policy::signature::{SignatureEvidence, Verdict};
use crate::smtp::reply::Reply;

type Rule = fn(&Evidence) -> Option<Word>;

/// In the order in which they are asked.
pub(super) const TABLE: [(&str, Rule); 5] = [
    ("authors", authors),
    ("our name", our_name),
    ("broken signature", broken_signature),
    ("DMARC", dmarc),
    ("lists", lists),
];

fn authors(evidence: &Evidence) -> Option<Word> {
    (evidence.authors.len() > MOST_AUTHORS).then(|| {
        let text = format!("From names more than {MOST_AUTHORS} domains; a letter has one author, or a few");
        Word::last(refuse(Reply::new(550, 6, 0, text)))
    })
}

/// Whoever writes in our name signs with our key, whatever `p=` says.
fn our_name(evidence: &Evidence) -> Option<Word> {
    let signed_by =
        |domain: &Domain| evidence.signatures.iter().any(|one| vouches(one) && aligned(&one.domain, domain));
    let unsigned = |author: &&Author| author.ours && !signed_by(&author.domain);
    let domain = &evidence.authors.iter().find(unsigned)?.domain;
    if let Some(forwarder) = evidence.vouching_forwarder() {
        let why =
            format!("From {domain}, unsigned by it, brought by the trusted forwarder {}", forwarder.domain);
        return Some(Word::last(accept(why)));
    }
    let may_still_pass = |signature: &SignatureEvidence| {
        aligned(&signature.domain, domain) || evidence.is_forwarder(&signature.domain)
    };
    if let Some((signature, why)) = evidence.faults().find(|(signature, _)| may_still_pass(signature)) {
        return Some(Word::last(key_later(signature, why)));
    }
    let text = format!(
        "From is in {domain}, which is a domain of this server, but no passing DKIM signature of {domain} is on the \
         letter; its owner submits through the submission door; for a mailing list the owner adds its DKIM domain to \
         inbound.trusted_forwarders"
    );
    Some(Word::last(refuse(Reply::new(550, 7, 1, text))))
}

/// The article's rule: what is broken is refused. Revoked, missing, expired, unknown and `l=` count as unsigned.
fn broken_signature(evidence: &Evidence) -> Option<Word> {
    if evidence.rules.broken_dkim == BrokenDkim::Mark
        || evidence.signatures.iter().any(SignatureEvidence::passes)
    {
        return None;
    }
    // No signature passes yet: the one without an answer may pass or be broken, and decides alone.
    if let Some((signature, why)) = evidence.faults().next() {
        return Some(key_later(signature, why));
    }
    let broken = evidence.signatures.iter().find(|signature| signature.is_broken())?;
    let what = match broken.verdict {
        Verdict::BrokenBody => "the body does not match bh=",
        _ => "the signature does not match the header",
    };
    let text = format!(
        "the DKIM signature of {} (s={}) is broken: {what}; the letter was changed on its way; send it directly",
        broken.domain, broken.selector
    );
    Some(refuse(Reply::new(550, 7, 20, text)))
}

/// RFC 9989: the author's domain says what to do with what it cannot vouch for. Of several authors the harshest counts.
fn dmarc(evidence: &Evidence) -> Option<Word> {
    let words = evidence.dmarc.iter().filter_map(|one| disowned(evidence, one));
    words.max_by_key(|word| word.ruling.severity())
}

fn disowned(evidence: &Evidence, one: &DmarcEvidence) -> Option<Word> {
    let author = &one.author;
    let open = one.open();
    let disowned = one.result == DmarcResult::Fail && one.policy > DmarcPolicy::None;
    if !disowned && open.is_none() {
        return None;
    }
    if let Some(forwarder) = evidence.vouching_forwarder() {
        let why =
            format!("DMARC of {author} does not pass; brought by the trusted forwarder {}", forwarder.domain);
        return Some(accept(why));
    }
    let forwarder_later =
        || evidence.faults().find(|(signature, _)| evidence.is_forwarder(&signature.domain));
    if let Some(fault) = open {
        let text = format!("DMARC of {author} cannot be checked now: {fault}; try again later");
        return Some(defer(Reply::new(451, 7, 0, text)));
    }
    if let Some((signature, why)) = forwarder_later() {
        return Some(key_later(signature, why));
    }
    let (why, policy) = (&one.why, one.policy);
    if policy == DmarcPolicy::Quarantine {
        return Some(Word::new(Ruling::Junk, format!("DMARC of {author}: {why}; its policy is {policy}")));
    }
    let text = format!(
        "DMARC: {why}, and the policy of {author} is {policy}; send it through a server of {author}, or, for a mailing \
         list, with the list's own address in From"
    );
    Some(refuse(Reply::new(550, 7, 1, text)))
}

/// The lists that the owner chose. A fault, or an error code, is no listing.
fn lists(evidence: &Evidence) -> Option<Word> {
    let listed = |answer: &ListAnswer| matches!(answer, ListAnswer::Listed(..));
    let listing = evidence.peer.listings.iter().find(|listing| listed(&listing.answer))?;
    if let Some(forwarder) = evidence.vouching_forwarder() {
        let why = format!("{listing}; brought by the trusted forwarder {}", forwarder.domain);
        return Some(accept(why));
    }
    let text = format!(
        "your address {} is on a list that this server heeds: {listing}; ask that list, or send through another server",
        evidence.peer.ip
    );
    Some(refuse(Reply::new(550, 7, 1, text)))
}

impl Word {
    fn new(ruling: Ruling, why: String) -> Word {
        Word { ruling, why, last: false }
    }

    fn last(word: Word) -> Word {
        Word { last: true, ..word }
    }
}

fn accept(why: String) -> Word {
    Word::new(Ruling::Accept, why)
}

fn refuse(reply: Reply) -> Word {
    let why = reply.text.clone();
    Word::new(Ruling::Refuse(reply), why)
}

fn defer(reply: Reply) -> Word {
    let why = reply.text.clone();
    Word::new(Ruling::Defer(reply), why)
}

fn key_later(signature: &SignatureEvidence, why: &str) -> Word {
    let text = format!(
        "the DKIM key {}._domainkey.{} cannot be looked up now: {why}; try again later",
        signature.selector, signature.domain
    );
    defer(Reply::new(451, 7, 0, text))
}

/// The same domain, or one below the other (but not below a top-level domain).
fn aligned(signer: &Domain, author: &Domain) -> bool {
    let below = |low: &Domain, high: &Domain| {
        high.as_str().contains('.')
            && low.as_str().strip_suffix(high.as_str()).is_some_and(|rest| rest.ends_with('.'))
    };
    signer == author || below(signer, author) || below(author, signer)
}
