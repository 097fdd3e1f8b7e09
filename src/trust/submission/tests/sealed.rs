//! Rule 3: the seal, and what leaves the server.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Sealed with `seal` by `key`.
fn sealed_with(seal_: &Seal, key: &PrivateKey) -> Attempt {
    let message = signed(LETTER, &[&ME, &ME_ED]);
    attempt(on_top(seal(&message, seal_, key).unwrap(), &message))
}

/// With an Envelope-Seal of this value, well signed.
fn sealed_by_hand(value: &str) -> Attempt {
    let message = on_top(format!("Envelope-Seal:{value}"), &signed(LETTER, &[&ME]));
    let field = forge::sign(&message, &ME, |text| text.replace("h=From:", "h=Envelope-Seal:From:"));
    attempt(on_top(field, &message))
}

#[test]
fn rule_3_without_a_seal() {
    attempt(signed(LETTER, &[&ME])).is_refused(&["no Envelope-Seal", "pillarbox sendmail"]);
}

#[test]
fn rule_3_a_seal_written_by_hand_is_as_good() {
    sealed_by_hand(&seal_for(&["you@example.net"]).value()).is_accepted();
}

#[test]
fn rule_3_two_seals() {
    let first = good().message;
    let value = seal_for(&["you@example.net"]).value();
    attempt(on_top(format!("Envelope-Seal:{value}"), &first)).is_refused(&["2 Envelope-Seal"]);
    attempt(on_top(format!("envelope-SEAL:{value}"), &first)).is_refused(&["2 Envelope-Seal"]);
}

#[test]
fn rule_3_a_seal_that_cannot_be_read() {
    let value = seal_for(&["you@example.net"]).value();
    let you = STANDARD.encode("you@example.net");
    let injected = STANDARD.encode("you@example.net; rt=x");
    for (from, to) in [
        ("v=1", "v=2"),
        (" sv=", " sv=a; sv="),
        ("n=", "m="),
        (you.as_str(), injected.as_str()),
        (you.as_str(), "you@example.net"),
    ] {
        sealed_by_hand(&value.replace(from, to)).is_refused(&["rule 3", "cannot be read"]);
    }
}

#[test]
fn rule_3_mf_is_mail_from() {
    let mut other = seal_for(&["you@example.net"]);
    other.sender = address("blog@example.org");
    sealed_with(&other, &ME).is_refused(&["rule 3", "mf="]);
}

#[test]
fn rule_3_rt_is_the_set_of_recipients() {
    let seal_ = seal_for(&["you@example.net", "them@example.net"]);
    let with = |recipients: &[&str]| {
        let mut attempt = sealed_with(&seal_, &ME);
        attempt.session.recipients = recipients.iter().map(|recipient| address(recipient)).collect();
        attempt
    };
    with(&["them@example.net", "you@example.net"]).is_accepted();
    with(&["you@example.net"]).is_refused(&["rule 3", "them@example.net"]);
    with(&["you@example.net", "them@example.net", "victim@example.com"])
        .is_refused(&["rule 3", "victim@example.com"]);
    with(&["You@example.net", "them@example.net"]).is_refused(&["rule 3", "You@example.net"]);
}

#[test]
fn rule_3_sv_is_this_server() {
    let mut other = seal_for(&["you@example.net"]);
    other.server = "mx.example.net".into();
    sealed_with(&other, &ME).is_refused(&["rule 3", "sv=", "mx.example.net", "mx.example.org"]);
}

#[test]
fn rule_3_t_within_ten_minutes() {
    for (now, good) in [(NOW + 600, true), (NOW - 600, true), (NOW + 601, false), (NOW - 601, false)] {
        let mut attempt = good_at(now);
        attempt.now = now;
        match good {
            true => drop(attempt.is_accepted()),
            false => attempt.is_answered(451, &["clocks differ", &NOW.to_string(), &now.to_string()]),
        }
    }
}

fn good_at(now: i64) -> Attempt {
    let mut attempt = good();
    attempt.now = now;
    attempt
}

#[test]
fn rule_3_the_seal_is_signed() {
    let message = signed(LETTER, &[&ME]);
    let value = seal_for(&["you@example.net"]).value();
    attempt(on_top(format!("Envelope-Seal:{value}"), &message))
        .is_refused(&["rule 3", "covers the Envelope-Seal"]);
    let tampered = String::from_utf8(good().message).unwrap().replace("n=0011", "n=ff11");
    attempt(tampered.into()).is_refused(&["rule 3", "does not match"]);
}

#[test]
fn rule_3_the_seals_signature_is_by_the_letters_key() {
    sealed_with(&seal_for(&["you@example.net"]), &ME_ED).is_accepted();
    sealed_with(&seal_for(&["you@example.net"]), &BOSS).is_refused(&["rule 3", "covers the Envelope-Seal"]);
    sealed_with(&seal_for(&["you@example.net"]), &EVIL).is_refused(&["rule 3", "covers the Envelope-Seal"]);
    // Mine both, but not the same one.
    attempt(sealed(signed(LETTER, &[&ME]), &ME_ED)).is_refused(&["rule 3", "another key"]);
}

#[test]
fn rule_3_the_seals_signature_is_bound_too() {
    let message =
        on_top(format!("Envelope-Seal:{}", seal_for(&["you@example.net"]).value()), &signed(LETTER, &[&ME]));
    for (from, to, words) in
        [("To:To:", "", "leaves To out"), ("s=me;", "s=me; l=0;", "l="), ("s=me;", "s=me; x=1;", "x=")]
    {
        let field = forge::sign(&message, &ME, |text| {
            text.replace("h=From:", "h=Envelope-Seal:From:").replace(from, to)
        });
        attempt(on_top(field, &message)).is_refused(&["rule 3", words]);
    }
}

#[test]
fn rule_3_a_signature_over_the_seal_is_no_public_one() {
    let value = seal_for(&["you@example.net"]).value();
    let message = on_top(format!("Envelope-Seal:{value}"), LETTER.as_bytes());
    let field = forge::sign(&message, &ME, |text| text.replace("h=From:", "h=Envelope-Seal:From:"));
    attempt(on_top(field, &message)).is_refused(&["rule 1", "no DKIM-Signature"]);
}

#[test]
fn rule_3_nothing_of_the_seal_leaves_the_server() {
    let gathered = good().gather();
    let head = String::from_utf8(gathered.head).unwrap();
    assert!(!head.to_ascii_lowercase().contains("envelope-seal"), "{head}");
    let public = signed(LETTER, &[&ME, &ME_ED]);
    assert_eq!(format!("{head}Hello you.\r\n").into_bytes().len(), public.len());
    assert!(head.ends_with("\r\n\r\n") && head.matches("DKIM-Signature:").count() == 2);
}

#[test]
fn rule_3_every_signature_that_names_the_seal_is_taken_off() {
    let extra = "DKIM-Signature: h=to: ENVELOPE-\r\n seal; v=x\r\n\
                 DKIM-Signature: v=1; a=rsa-sha256; d=evil.example; s=x; h=from:envelope-SEAL; bh=AAAA; b=AAAA\r\n";
    let attempt = attempt(on_top(extra, &good().message));
    attempt.is_accepted();
    assert_eq!(attempt.gather().head, good().gather().head);
}

#[test]
fn rule_3_the_public_signature_holds_on_what_is_queued() {
    // A public signature over the seal's own: right on what arrived, not on what would leave.
    let letter =
        on_top(format!("Envelope-Seal:{}", seal_for(&["you@example.net"]).value()), LETTER.as_bytes());
    let sealing = forge::sign(&letter, &ME, |text| text.replace("h=From:", "h=Envelope-Seal:From:"));
    let message = on_top(sealing, &letter);
    let with = |names: &str| {
        let public = forge::sign(&message, &ME, |text| text.replace("h=From:", &format!("h={names}From:")));
        attempt(on_top(public, &message))
    };
    with("").is_accepted();
    with("DKIM-Signature:").is_refused(&["rule 1", "does not match"]);
}

#[test]
fn rule_3_a_sealed_letter_is_judged_as_sealed_where_plain_is_allowed() {
    let mut with_bad_seal = sealed_by_hand(" v=9\r\n");
    with_bad_seal.session.accept = vec![Accept::Sealed, Accept::Plain];
    with_bad_seal.is_refused(&["rule 3", "cannot be read"]);
    let mut for_others = good();
    for_others.session.accept = vec![Accept::Sealed, Accept::Plain];
    for_others.session.recipients = vec![address("victim@example.com")];
    for_others.is_refused(&["rule 3", "victim@example.com"]);
    let mut only_plain = good();
    only_plain.session.accept = vec![Accept::Plain];
    only_plain.is_refused(&["rule 3", "submission.accept"]);
}

#[test]
fn rule_3_a_delivered_copy_does_not_submit_again() {
    let copy = on_top(good().gather().head, b"Hello you.\r\n");
    let mut replay = attempt(copy);
    replay.session.recipients = vec![address("victim@example.com")];
    replay.is_refused(&["no Envelope-Seal"]);
}
