use super::*;
use crate::policy::dmarc::{DmarcPolicy, DmarcResult};
use crate::policy::inbound::tests::{domain, letter, signed};
use crate::policy::spf::SpfResult;

fn dmarc_of(author: &str, result: DmarcResult) -> DmarcEvidence {
    DmarcEvidence {
        author: domain(author),
        result,
        policy: DmarcPolicy::Reject,
        record_at: Some(format!("_dmarc.{author}")),
        why: String::new(),
        steps: Vec::new(),
    }
}

#[test]
fn one_result_for_each_thing_that_was_looked_at() {
    let mut evidence = letter(
        &[("example.net", false)],
        vec![signed("example.net", Verdict::Pass), signed("example.com", Verdict::BrokenBody)],
    );
    evidence.spf.result = SpfResult::Pass;
    evidence.dmarc = vec![dmarc_of("example.net", DmarcResult::Pass)];
    evidence.peer.name = PeerName::Confirmed(domain("mx.example.net"));
    assert_eq!(
        authentication_results("mx.example.org", &evidence),
        "Authentication-Results: mx.example.org;\r\n spf=pass smtp.mailfrom=example.net;\r\n dkim=pass\r\n \
         header.d=example.net header.s=s header.a=rsa-sha256;\r\n dkim=fail reason=\"body hash does not match\"\r\n \
         header.d=example.com header.s=s header.a=rsa-sha256;\r\n dmarc=pass header.from=example.net \
         policy.dmarc=reject;\r\n iprev=pass policy.iprev=192.0.2.1\r\n"
    );
    evidence.signatures.clear();
    evidence.peer.ip = "2001:db8::1".parse().unwrap();
    let text = authentication_results("mx", &evidence);
    assert!(text.contains(" dkim=none;") && text.ends_with(" policy.iprev=\"2001:db8::1\"\r\n"), "{text}");
}

#[test]
fn a_strangers_text_adds_nothing() {
    let hostile = "a; dkim=pass\r\nX-Injected: 1";
    let mut signature = signed("example.net", Verdict::UnusableKey("\"\r\nX: 1; spf=pass".into()));
    signature.selector = hostile.into();
    signature.algorithm = "rsa-sha1; spf=pass (x".into();
    let mut evidence = letter(&[], vec![signature]);
    evidence.spf.domain = hostile.into();
    let text = authentication_results("mx", &evidence);
    assert!(!text.contains("spf=pass") && !text.contains("X:") && !text.contains("dkim=pass"), "{text}");
    assert_eq!(text.matches(';').count(), 3);
    assert!(text.lines().skip(1).all(|line| line.starts_with(' ')));
}

#[test]
fn an_address_as_a_name_is_quoted() {
    let mut evidence = letter(&[], vec![]);
    evidence.spf.identity = SpfIdentity::Helo;
    evidence.spf.domain = "[ipv6:2001:db8::1]".into();
    let text = authentication_results("mx", &evidence);
    assert!(text.contains(" smtp.helo=\"ipv6:2001:db8::1\";"), "{text}");
}

#[test]
fn the_verdict_is_folded_and_stays_one_field() {
    let field =
        verdict_field("junk", &format!("{}\r\nX: 1 \u{e9} {}", "words ".repeat(30), "y".repeat(2000)));
    assert!(field.starts_with("Pillarbox-Verdict: junk; words words"), "{field}");
    assert!(field.ends_with("\r\n") && field.is_ascii());
    assert!(field.lines().skip(1).all(|line| line.starts_with(' ') && line.len() <= 998), "{field}");
}
