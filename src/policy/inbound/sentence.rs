//! The evidence as one sentence, for the log, the letter and the reader.

use super::{Decision, Evidence, Ruling};
use crate::mail::form::in_words;
use crate::policy::dmarc::DmarcResult;
use crate::policy::peer::ListAnswer;
use crate::policy::signature::{SignatureEvidence, Verdict};
use crate::policy::spf::SpfResult;

/// What was found out, in words: "SPF pass (…); DKIM pass by example.net; DMARC pass for example.net (…); …". ASCII, one line.
pub fn sentence(evidence: &Evidence, decision: &Decision) -> String {
    let mut parts = Vec::new();
    // Where a rule spoke, its words come first; a refusal has them in its reply already.
    if let (Ruling::Accept | Ruling::Junk, Some(why)) = (&decision.ruling, &decision.because) {
        parts.push(why.clone());
    }
    parts.push(spf(evidence));
    parts.push(dkim(&evidence.signatures));
    parts.extend(evidence.dmarc.iter().map(|one| match &one.result {
        DmarcResult::Fail => {
            format!("DMARC fail for {} ({}; its policy is {})", one.author, one.why, one.policy)
        }
        result => format!("DMARC {} for {} ({})", result.word(), one.author, one.why),
    }));
    parts.push(format!("the client {}", evidence.peer.name));
    parts.extend(evidence.peer.helo_oddity.map(|oddity| format!("HELO is odd: {oddity}")));
    let told = evidence.peer.listings.iter().filter(|listing| listing.answer != ListAnswer::NotListed);
    parts.extend(told.map(ToString::to_string));
    parts.extend(in_words(&evidence.form).map(|words| format!("its form is odd: {words}")));
    parts.join("; ")
}

impl Evidence {
    /// The evidence in full, a line each, for `explain`.
    pub fn told(&self) -> Vec<String> {
        let mut lines = vec![format!("client: {} {}", self.peer.ip, self.peer.name)];
        let helo = &self.peer.helo;
        lines.extend(self.peer.helo_oddity.map(|oddity| format!("client: HELO {helo} is odd: {oddity}")));
        lines.extend(self.peer.listings.iter().map(|listing| format!("client: {listing}")));
        lines.extend(self.spf.steps.iter().map(|step| format!("SPF: {step}")));
        lines.push(format!("SPF: {} for {}: {}", self.spf.result, self.spf.domain, self.spf.why));
        let words = self.spf.explanation.as_ref();
        lines.extend(words.map(|words| format!("SPF: {} itself explains: {words:?}", self.spf.domain)));
        lines.extend(self.authors.iter().map(|author| {
            let whose = if author.ours { ", a domain of ours" } else { "" };
            let place = if author.in_name { ", in the display name only" } else { "" };
            format!("From: {}{whose}{place}", author.domain)
        }));
        lines.extend(self.signatures.iter().map(|one| {
            let why = reason(&one.verdict).map(|why| format!(": {why}")).unwrap_or_default();
            format!(
                "DKIM: {} {} (s={}, {}){why}",
                told(&one.verdict),
                one.domain,
                one.selector,
                one.algorithm
            )
        }));
        for one in &self.dmarc {
            lines.extend(one.steps.iter().map(|step| format!("DMARC: {step}")));
            lines.push(format!("DMARC: {} for {}: {}", one.result.word(), one.author, one.why));
        }
        lines.extend(self.form.iter().map(|oddity| format!("form: {oddity}")));
        lines
    }
}

fn spf(evidence: &Evidence) -> String {
    let spf = &evidence.spf;
    match spf.result {
        SpfResult::None => format!("no SPF ({})", spf.why),
        result => format!("SPF {result} for {} ({})", spf.domain, spf.why),
    }
}

fn dkim(signatures: &[SignatureEvidence]) -> String {
    if signatures.is_empty() {
        return "not signed".into();
    }
    let each = signatures.iter().map(|one| format!("DKIM {} {}", told(&one.verdict), one.domain));
    each.collect::<Vec<_>>().join(", ")
}

fn reason(verdict: &Verdict) -> Option<&str> {
    match verdict {
        Verdict::UnusableKey(why) | Verdict::Unsupported(why) | Verdict::TempFault(why) => Some(why),
        _ => None,
    }
}

fn told(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass by",
        Verdict::BrokenBody => "broken (the body was changed) by",
        Verdict::BrokenSignature => "broken (the header was changed) by",
        Verdict::NoKey => "without a key by",
        Verdict::Revoked => "with a revoked key by",
        Verdict::Testing => "with a testing key by",
        Verdict::UnusableKey(_) => "with an unusable key by",
        Verdict::Unsupported(_) => "in a form that proves nothing by",
        Verdict::Expired => "expired by",
        Verdict::Premature => "from the future by",
        Verdict::TempFault(_) => "without an answer from DNS by",
    }
}
