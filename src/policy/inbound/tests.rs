use super::*;
use crate::policy::dmarc::{DmarcPolicy, DmarcResult};
use crate::policy::peer::{ListAnswer, Listing, PeerName};
use crate::policy::signature::Vouched;
use crate::policy::spf::{SpfIdentity, SpfResult};

pub(in crate::policy) fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

pub(in crate::policy) fn signed(by: &str, verdict: Verdict) -> SignatureEvidence {
    SignatureEvidence {
        domain: domain(by),
        selector: "s".into(),
        algorithm: "rsa-sha256".into(),
        has_length: false,
        time: None,
        expires: None,
        uncovered: None,
        covers_seal: false,
        rsa_bits: Some(2048),
        mark: String::new(),
        judged_at: 0,
        vouched: Vouched::Unasked,
        verdict,
    }
}

pub(in crate::policy) fn letter(from: &[(&str, bool)], signatures: Vec<SignatureEvidence>) -> Evidence {
    Evidence {
        rules: Rules {
            broken_dkim: BrokenDkim::Reject,
            trusted_forwarders: vec![domain("lists.example.com")],
        },
        peer: PeerEvidence {
            ip: "192.0.2.1".parse().unwrap(),
            helo: "mx.example.net".into(),
            helo_oddity: None,
            name: PeerName::Missing,
            listings: Vec::new(),
        },
        spf: SpfEvidence {
            result: SpfResult::None,
            identity: SpfIdentity::MailFrom,
            domain: "example.net".into(),
            why: "example.net has no SPF record".into(),
            steps: Vec::new(),
            explanation: None,
        },
        authors: from
            .iter()
            .map(|(name, ours)| Author { domain: domain(name), ours: *ours, in_name: false })
            .collect(),
        signatures,
        dmarc: Vec::new(),
        form: Vec::new(),
    }
}

/// With the outcome of DMARC for the first author.
fn judged(mut evidence: Evidence, result: DmarcResult, policy: DmarcPolicy) -> Evidence {
    evidence.dmarc.push(DmarcEvidence {
        author: evidence.authors[0].domain.clone(),
        result,
        policy,
        record_at: None,
        why: "neither SPF nor DKIM is aligned".into(),
        steps: Vec::new(),
    });
    evidence
}

fn outcome(evidence: &Evidence) -> (&'static str, u16) {
    let ruling = decide(evidence).ruling;
    (ruling.word(), ruling.refusal().map_or(250, |reply| reply.code))
}

fn code(evidence: &Evidence) -> u16 {
    outcome(evidence).1
}

const STRANGER: &[(&str, bool)] = &[("example.net", false)];
const OURS: &[(&str, bool)] = &[("example.org", true)];

#[test]
fn only_what_is_broken_is_refused() {
    for (verdict, expected) in [
        (Verdict::Pass, 250),
        (Verdict::BrokenBody, 550),
        (Verdict::BrokenSignature, 550),
        (Verdict::NoKey, 250),
        (Verdict::Revoked, 250),
        (Verdict::Testing, 250),
        (Verdict::UnusableKey("x".into()), 250),
        (Verdict::Unsupported("l=".into()), 250),
        (Verdict::Expired, 250),
        (Verdict::Premature, 250),
        (Verdict::TempFault("x".into()), 451),
    ] {
        let mut evidence = letter(STRANGER, vec![signed("example.net", verdict.clone())]);
        assert_eq!(code(&evidence), expected, "{verdict:?}");
        evidence.rules.broken_dkim = BrokenDkim::Mark;
        assert_eq!(code(&evidence), 250, "{verdict:?}");
    }
    assert_eq!(code(&letter(STRANGER, vec![])), 250);
}

#[test]
fn another_signature_that_passes_makes_up_for_a_broken_one() {
    let pass = || signed("example.com", Verdict::Pass);
    for verdict in [Verdict::BrokenBody, Verdict::TempFault("x".into())] {
        assert_eq!(code(&letter(STRANGER, vec![signed("example.net", verdict), pass()])), 250);
    }
    let broken = signed("example.net", Verdict::BrokenBody);
    let fault = signed("example.com", Verdict::TempFault("x".into()));
    assert_eq!(code(&letter(STRANGER, vec![broken, fault])), 451);
}

#[test]
fn from_ours_needs_an_aligned_signature_that_passes() {
    let pass = |by| vec![signed(by, Verdict::Pass)];
    assert_eq!(code(&letter(OURS, pass("example.org"))), 250);
    assert_eq!(code(&letter(OURS, pass("mail.example.org"))), 250);
    assert_eq!(code(&letter(&[("mail.example.org", true)], pass("example.org"))), 250);
    for by in ["example.net", "notexample.org", "org", "xexample.org"] {
        assert_eq!(code(&letter(OURS, pass(by))), 550, "{by}");
    }
    assert_eq!(code(&letter(OURS, vec![])), 550);
    assert_eq!(code(&letter(&[("example.net", false), ("example.org", true)], pass("example.net"))), 550);
    let mut added_from = signed("example.org", Verdict::Pass);
    added_from.uncovered = Some("From".into());
    assert_eq!(code(&letter(OURS, vec![added_from])), 550);
    let mut marking = letter(OURS, vec![signed("example.org", Verdict::BrokenBody)]);
    marking.rules.broken_dkim = BrokenDkim::Mark;
    assert_eq!(code(&marking), 550, "whatever broken_dkim says");
    for verdict in [Verdict::Testing, Verdict::Expired, Verdict::NoKey] {
        assert_eq!(code(&letter(OURS, vec![signed("example.org", verdict)])), 550);
    }
}

#[test]
fn more_than_ten_domains_are_too_many() {
    let names: Vec<String> = (0..=MOST_AUTHORS).map(|n| format!("d{n}.example")).collect();
    let from: Vec<(&str, bool)> = names.iter().map(|name| (name.as_str(), false)).collect();
    assert_eq!(outcome(&letter(&from[..MOST_AUTHORS], vec![])), ("accept", 250));
    let forwarded = vec![signed("lists.example.com", Verdict::Pass)];
    let decision = decide(&letter(&from, forwarded));
    assert!(decision.because.unwrap().contains("more than 10 domains"));
    assert_eq!((decision.ruling.word(), decision.steps.len()), ("refuse", 1), "no other rule is asked");
}

#[test]
fn a_letter_in_our_name_is_refused_for_that_and_nothing_else() {
    let decision = decide(&judged(letter(OURS, vec![]), DmarcResult::Fail, DmarcPolicy::Reject));
    assert_eq!(decision.steps.last().unwrap().rule, "our name");
}

#[test]
fn spf_does_not_make_a_letter_ours() {
    let mut evidence = judged(letter(OURS, vec![]), DmarcResult::Pass, DmarcPolicy::Reject);
    evidence.spf.result = SpfResult::Pass;
    assert_eq!(code(&evidence), 550);
}

#[test]
fn a_trusted_forwarder_may_bring_our_own_post_back() {
    let passing = letter(OURS, vec![signed("lists.example.com", Verdict::Pass)]);
    assert!(decide(&passing).because.unwrap().contains("lists.example.com"));
    let broken_inside =
        vec![signed("example.org", Verdict::BrokenBody), signed("lists.example.com", Verdict::Pass)];
    assert_eq!(code(&letter(OURS, broken_inside)), 250);
    assert_eq!(code(&letter(OURS, vec![signed("lists.example.com", Verdict::BrokenBody)])), 550);
    assert_eq!(code(&letter(OURS, vec![signed("x.lists.example.com", Verdict::Pass)])), 550);
    let topped =
        SignatureEvidence { uncovered: Some("From".into()), ..signed("lists.example.com", Verdict::Pass) };
    assert_eq!(code(&letter(OURS, vec![topped])), 550, "a From put on top of a post of the list");
}

#[test]
fn the_rule_of_our_name_wins_over_every_other() {
    let disowned = |evidence| judged(evidence, DmarcResult::Fail, DmarcPolicy::Reject);
    let marked = disowned(letter(OURS, vec![signed("lists.example.com", Verdict::Pass)]));
    let decision = decide(&marked);
    assert_eq!(decision.ruling, Ruling::Accept);
    assert_eq!(decision.steps.last().unwrap().rule, "our name");
    let fault = disowned(letter(OURS, vec![signed("example.org", Verdict::TempFault("x".into()))]));
    assert_eq!(code(&fault), 451);
}

#[test]
fn dmarc_does_what_the_author_asks_for() {
    use DmarcPolicy::{None, Quarantine, Reject};
    let temp = || DmarcResult::TempError("x".into());
    let perm = || DmarcResult::PermError("x".into());
    for (result, policy, expected) in [
        (DmarcResult::Pass, Reject, ("accept", 250)),
        (DmarcResult::None, Reject, ("accept", 250)),
        (DmarcResult::Fail, None, ("accept", 250)),
        (DmarcResult::Fail, Quarantine, ("junk", 250)),
        (DmarcResult::Fail, Reject, ("refuse", 550)),
        (temp(), None, ("accept", 250)),
        (temp(), Quarantine, ("defer", 451)),
        (temp(), Reject, ("defer", 451)),
        (perm(), Reject, ("accept", 250)),
    ] {
        let evidence = judged(letter(STRANGER, vec![]), result.clone(), policy);
        assert_eq!(outcome(&evidence), expected, "{result:?} {policy}");
        let forwarded = vec![signed("lists.example.com", Verdict::Pass)];
        let forwarded = judged(letter(STRANGER, forwarded), result.clone(), policy);
        assert_eq!(outcome(&forwarded).0, "accept", "{result:?} {policy} from a trusted forwarder");
    }
}

#[test]
fn of_several_authors_the_harshest_policy_counts() {
    let two = letter(&[("example.net", false), ("example.edu", false)], vec![]);
    let mut evidence = judged(two, DmarcResult::Fail, DmarcPolicy::Quarantine);
    let mut other = evidence.dmarc[0].clone();
    other.policy = DmarcPolicy::Reject;
    evidence.dmarc.push(other);
    assert_eq!(outcome(&evidence), ("refuse", 550));
    evidence.dmarc[1].result = DmarcResult::Pass;
    assert_eq!(outcome(&evidence), ("junk", 250));
}

#[test]
fn a_refusal_waits_for_the_key_of_a_trusted_forwarder() {
    let later = vec![signed("lists.example.com", Verdict::TempFault("x".into()))];
    let mut by_forwarder = judged(letter(STRANGER, later), DmarcResult::Fail, DmarcPolicy::Reject);
    by_forwarder.rules.broken_dkim = BrokenDkim::Mark;
    assert_eq!(outcome(&by_forwarder), ("defer", 451));
}

#[test]
fn a_strangers_key_that_cannot_be_looked_up_holds_no_refusal_up() {
    let fault = vec![signed("example.edu", Verdict::TempFault("x".into()))];
    let mut evidence = judged(letter(STRANGER, fault), DmarcResult::Fail, DmarcPolicy::Reject);
    evidence.rules.broken_dkim = BrokenDkim::Mark;
    assert_eq!(outcome(&evidence), ("refuse", 550));
}

#[test]
fn a_listing_refuses_and_what_could_not_be_told_does_not() {
    let with = |answer, signatures| {
        let mut evidence = letter(STRANGER, signatures);
        evidence.peer.listings = vec![Listing { list: domain("list.example"), answer }];
        evidence
    };
    let listed = || ListAnswer::Listed(vec![[127, 0, 0, 2].into()], Some("see list.example".into()));
    let decision = decide(&with(listed(), vec![]));
    let reply = decision.ruling.refusal().unwrap();
    assert!(reply.code == 550 && reply.text.contains("list.example lists it (127.0.0.2)"), "{reply:?}");
    assert_eq!(code(&with(ListAnswer::CouldNotTell("127.255.255.254".into()), vec![])), 250);
    assert_eq!(code(&with(ListAnswer::NotListed, vec![])), 250);
    assert_eq!(code(&with(listed(), vec![signed("lists.example.com", Verdict::Pass)])), 250);
}

#[test]
fn a_listing_is_harsher_than_junk() {
    let mut evidence = judged(letter(STRANGER, vec![]), DmarcResult::Fail, DmarcPolicy::Quarantine);
    let answer = ListAnswer::Listed(vec![[127, 0, 0, 2].into()], None);
    evidence.peer.listings = vec![Listing { list: domain("list.example"), answer }];
    assert_eq!(outcome(&evidence), ("refuse", 550));
}

#[test]
fn dns_trouble_defers_only_what_depends_on_it() {
    let fault = |by| signed(by, Verdict::TempFault("x".into()));
    assert_eq!(code(&letter(OURS, vec![fault("example.org")])), 451);
    assert_eq!(code(&letter(OURS, vec![fault("lists.example.com")])), 451);
    assert_eq!(code(&letter(OURS, vec![fault("example.net")])), 550);
    let decision = decide(&letter(OURS, vec![]));
    assert!(decision.because.unwrap().contains("trusted_forwarders"));
    let mut unknown = letter(STRANGER, vec![]);
    unknown.spf.result = SpfResult::TempError;
    unknown.peer.name = PeerName::Unknown("x".into());
    assert_eq!(code(&unknown), 250);
}

#[test]
fn the_sentence_says_it_all_in_one_line() {
    let evidence = judged(
        letter(STRANGER, vec![signed("example.net", Verdict::Pass)]),
        DmarcResult::Pass,
        DmarcPolicy::Reject,
    );
    let said = sentence(&evidence, &decide(&evidence));
    assert_eq!(
        said,
        "no SPF (example.net has no SPF record); DKIM pass by example.net; DMARC pass for example.net (neither SPF \
         nor DKIM is aligned); the client has no name in DNS"
    );
}
