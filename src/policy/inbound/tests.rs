use super::*;

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn signed(by: &str, verdict: Verdict) -> SignatureEvidence {
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
        verdict,
    }
}

fn letter(from: &[(&str, bool)], signatures: Vec<SignatureEvidence>) -> Evidence {
    Evidence {
        broken_dkim: BrokenDkim::Reject,
        authors: from.iter().map(|(name, ours)| Author { domain: domain(name), ours: *ours }).collect(),
        signatures,
        trusted_forwarders: vec![domain("lists.example.com")],
    }
}

fn code(evidence: &Evidence) -> u16 {
    decide(evidence).err().map_or(250, |reply| reply.code)
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
        evidence.broken_dkim = BrokenDkim::Mark;
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
    marking.broken_dkim = BrokenDkim::Mark;
    assert_eq!(code(&marking), 550, "whatever broken_dkim says");
    for verdict in [Verdict::Testing, Verdict::Expired, Verdict::NoKey] {
        assert_eq!(code(&letter(OURS, vec![signed("example.org", verdict)])), 550);
    }
}

#[test]
fn a_trusted_forwarder_may_bring_our_own_post_back() {
    let passing = letter(OURS, vec![signed("lists.example.com", Verdict::Pass)]);
    assert!(decide(&passing).unwrap().mark.unwrap().contains("lists.example.com"));
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
fn dns_trouble_defers_only_what_depends_on_it() {
    let fault = |by| signed(by, Verdict::TempFault("x".into()));
    assert_eq!(code(&letter(OURS, vec![fault("example.org")])), 451);
    assert_eq!(code(&letter(OURS, vec![fault("lists.example.com")])), 451);
    assert_eq!(code(&letter(OURS, vec![fault("example.net")])), 550);
    let reply = decide(&letter(OURS, vec![])).unwrap_err();
    assert!(reply.text.contains("trusted_forwarders"), "{}", reply.text);
}
