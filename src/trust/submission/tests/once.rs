//! Rules 4 and 5: what makes a repeat recognizable.

use super::*;

#[test]
fn rule_4_a_retry_renews_only_the_time_and_the_seals_signature() {
    let message = signed(LETTER, &[&ME, &ME_ED]);
    let first = attempt(sealed(message.clone(), &ME)).is_accepted();
    let mut later = seal_for(&["you@example.net"]);
    later.time = NOW + 86_400;
    let mut retry = attempt(on_top(seal(&message, &later, &ME).unwrap(), &message));
    retry.now = NOW + 86_400;
    let second = retry.is_accepted();
    assert_eq!(once(&first), once(&second));
    assert_eq!(first.nonce.as_deref(), Some("00112233445566778899aabbccddeeff"));
}

#[test]
fn rule_4_nonces_are_looked_up_before_the_time_is() {
    let mut late = good();
    late.now = NOW + 86_400;
    let accepted = decide(&late.gather().evidence).unwrap();
    assert_eq!(once(&accepted), once(&good().is_accepted()));
    assert_eq!(accepted.fresh(late.now).unwrap_err().code, 451);
}

#[test]
fn rule_4_other_content_or_envelope_is_something_else() {
    let digest = |attempt: Attempt| attempt.is_accepted().digest;
    let first = digest(good());
    let other = LETTER.replace("Hello", "Hullo");
    assert_ne!(digest(attempt(sealed(signed(&other, &[&ME, &ME_ED]), &ME))), first);
    // A signature does not notice white space; the digest does.
    let spaced = String::from_utf8(good().message).unwrap().replace("Hello you.", "Hello  you.");
    assert_ne!(digest(attempt(spaced.into())), first);
    let other = LETTER.replace("Subject: hello", "Subject: hullo");
    assert_ne!(digest(attempt(sealed(signed(&other, &[&ME, &ME_ED]), &ME))), first);
    let message = signed(LETTER, &[&ME, &ME_ED]);
    let seal_ = seal_for(&["you@example.net", "them@example.net"]);
    let mut both = attempt(on_top(seal(&message, &seal_, &ME).unwrap(), &message));
    both.session.recipients = vec![address("you@example.net"), address("them@example.net")];
    assert_ne!(digest(both), first);
    assert_eq!(digest(good()), first);
}

#[test]
fn rule_5_every_bound_signature_is_spent() {
    assert_eq!(good().is_accepted().spends.len(), 2);
    let mut one_in_trouble = good();
    one_in_trouble.keys = one_in_trouble.keys.set("me.ed25519._domainkey.example.org", None);
    assert_eq!(one_in_trouble.is_accepted().spends, good().is_accepted().spends);
}

#[test]
fn rule_5_a_refolded_signature_is_the_same_signature() {
    let spends = |message: Vec<u8>| attempt(sealed(message, &ME)).is_accepted().spends;
    let message = signed(LETTER, &[&ME]);
    let text = String::from_utf8(message.clone()).unwrap();
    let at = text.find(" b=").unwrap() + 10;
    let refolded = format!("{}\r\n\t {}", &text[..at], &text[at..]);
    assert_ne!(refolded, text);
    assert_eq!(spends(refolded.into()), spends(message.clone()));
    let unpadded = text.replace("==\r\n", "\r\n");
    assert_eq!(spends(unpadded.into()), spends(message));
}

#[test]
fn rule_4_a_clock_that_runs_ahead_does_not_hide_the_nonce() {
    let message = signed(LETTER, &[&ME, &ME_ED]);
    let mut ahead = seal_for(&["you@example.net"]);
    ahead.time = NOW + 86_400;
    let retry = attempt(on_top(seal(&message, &ahead, &ME).unwrap(), &message));
    let accepted = decide(&retry.gather().evidence).unwrap();
    assert_eq!(once(&accepted), once(&good().is_accepted()));
    retry.is_answered(451, &["clocks differ"]);
}

#[test]
fn rule_5_the_mark_does_not_depend_on_the_text_of_b() {
    let mark = |d: &str, b: &str| {
        let value = format!(" v=1; a=rsa-sha256; d={d}; s=me; h=from; bh=AAAA; b={b}\r\n");
        let field = Field { raw: b"", name: "DKIM-Signature", value: value.as_bytes() };
        inspect::mark(&Signature::parse(&field).unwrap(), &field, &Index::new(&[]))
    };
    assert_eq!(mark("example.org", "AAAA"), mark("example.org", "BB\r\n BB"));
    assert_ne!(mark("example.org", "AAAA"), mark("example.net", "AAAA"));
}
