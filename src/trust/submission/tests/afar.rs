//! Rule 7, without ssh: the same letters from anywhere in the world.

use super::*;
use crate::policy::signature::Vouched;
use crate::policy::submission::untold;

fn from_afar(attempt: Attempt, vouched: Vouched) -> Attempt {
    let mut attempt = attempt;
    attempt.session.channel = Channel::World;
    attempt.keys.vouched = Some(vouched);
    attempt
}

fn insecure() -> Vouched {
    Vouched::Not { pin: "/var/lib/pillarbox/keys/me._domainkey.example.org".into() }
}

#[test]
fn a_key_must_be_vouched_for() {
    from_afar(good(), Vouched::Secure).is_accepted();
    from_afar(good(), Vouched::Pinned).is_accepted();
    let words = ["rule 7", "sign the zone example.org", "/var/lib/pillarbox/keys/me._domainkey.example.org"];
    from_afar(good(), insecure()).is_refused(&words);
    from_afar(good(), Vouched::Unasked).is_refused(&["rule 7"]);
    // By ssh and on loopback DNS is believed as ever.
    let mut near = good();
    near.keys.vouched = Some(insecure());
    near.is_accepted();
}

#[test]
fn only_what_is_sealed_is_taken_whatever_is_accepted_elsewhere() {
    let plain = |accept: Vec<Accept>| {
        let mut plain = from_afar(attempt(signed(LETTER, &[&ME])), Vouched::Secure);
        plain.session.accept = accept;
        plain
    };
    plain(vec![Accept::Plain]).is_refused(&["rule 7", "Envelope-Seal"]);
    plain(vec![Accept::Sealed, Accept::Plain]).is_refused(&["rule 7", "Envelope-Seal"]);
    let mut sealed = from_afar(good(), Vouched::Secure);
    sealed.session.accept = vec![Accept::Plain];
    sealed.is_refused(&["rule 3"]);
}

/// What somebody who has no key of the sender's can try: all of it has one answer, whoever owns which name here.
#[test]
fn whoever_proves_nothing_learns_nothing() {
    let own_letter = signed(LETTER, &[&ME]);
    let by = |selector: &str, message: &[u8]| {
        let forger = key(selector, "example.org", Algorithm::Ed25519);
        on_top(seal(message, &seal_for(&["you@example.net"]), &forger).unwrap(), message)
    };
    let boss = signed(&LETTER.replace("<me@", "<boss@"), &[&EVIL]);
    let blog = signed(&LETTER.replace("<me@", "<blog@"), &[&EVIL]);
    let replies: Vec<Reply> = [
        // A letter that its recipient has kept, under seals by keys of another's, of nobody's and of the owner's name.
        by("boss", &own_letter),
        by("nobody", &own_letter),
        by("me", &own_letter),
        by("me.ed25519", &own_letter),
        // From names another, an alias, or nobody here.
        by("me", &boss),
        by("me", &blog),
        by("me", &signed(&LETTER.replace("<me@", "<nobody@"), &[&EVIL])),
        sealed(own_letter.clone(), &EVIL),
        on_top(format!("Envelope-Seal:{}", seal_for(&["you@example.net"]).value()), &own_letter),
    ]
    .map(|message| from_afar(attempt(message), Vouched::Secure).decide().unwrap_err())
    .into();
    for reply in &replies {
        assert_eq!(reply, &replies[0]);
    }
    assert!(replies[0].text.contains("no good signature") && replies[0].code == 550, "{:?}", replies[0]);
}

/// A time to come is seen without a key, and so without a proof; the owner hears of it, whose clock was wrong when he wrote.
#[test]
fn a_signature_of_a_time_to_come_tells_nobody_whose_a_selector_is() {
    let later = |key: &PrivateKey| {
        let mut message = sign::sign_at(LETTER.as_bytes(), &[key], NOW + 3600).unwrap();
        message.extend_from_slice(LETTER.as_bytes());
        message
    };
    let forged = |selector: &str| {
        let forger = key(selector, "example.org", Algorithm::Ed25519);
        let message = later(&forger);
        let seal =
            String::from_utf8(seal(&message, &seal_for(&["you@example.net"]), &forger).unwrap()).unwrap();
        let sealed = seal.replace("v=1; a=", &format!("v=1; t={}; a=", NOW + 3600));
        assert_ne!(sealed, seal);
        from_afar(attempt(on_top(sealed, &message)), Vouched::Secure)
    };
    let replies =
        ["me", "me.ed25519", "boss", "nobody"].map(|selector| forged(selector).decide().unwrap_err());
    for reply in &replies {
        assert_eq!(reply, &replies[3]);
    }
    assert!(untold(&forged("me").gather().evidence).unwrap().contains("clocks differ"));
    from_afar(attempt(sealed(later(&ME), &ME)), Vouched::Secure).is_answered(451, &["clocks differ"]);
}

#[test]
fn the_log_says_what_the_reply_leaves_out() {
    let forged = from_afar(attempt(sealed(signed(LETTER, &[&ME]), &BOSS)), Vouched::Secure);
    let why = untold(&forged.gather().evidence).unwrap();
    assert!(why.contains("no signature by a key of the sender covers the Envelope-Seal"), "{why}");
    assert_eq!(untold(&from_afar(good(), insecure()).gather().evidence), None);
    assert_eq!(untold(&good().gather().evidence), None);
}

/// Whoever sealed the letter with a key of the sender hears every reason.
#[test]
fn the_owner_hears_what_is_wrong() {
    let boss = sealed(signed(&LETTER.replace("<me@", "<boss@"), &[&ME]), &ME);
    from_afar(attempt(boss), Vouched::Secure).is_refused(&["rule 1", "From names boss@example.org"]);
    let mut early = from_afar(good(), Vouched::Secure);
    early.now -= 3600;
    early.is_answered(451, &["clocks differ"]);
    early.now += 7200;
    early.is_answered(451, &["clocks differ"]);
    let mut dead = from_afar(good(), Vouched::Secure);
    dead.keys.records.insert(ME.txt_name(), None);
    dead.is_answered(451, &["cannot be looked up now"]);
}

#[test]
fn a_pinned_key_obeys_the_other_rules() {
    let with = |record: String| {
        let mut attempt = from_afar(good(), Vouched::Pinned);
        attempt.keys.records.insert(ME.txt_name(), Some(vec![record]));
        attempt
    };
    let record = ME.txt_record().unwrap();
    with(record.clone()).is_accepted();
    for wrong in [
        record.replace("v=DKIM1;", "v=DKIM1; t=y;"),
        "v=DKIM1; p=".into(),
        String::new(),
        BOSS.txt_record().unwrap(),
        "nonsense".into(),
    ] {
        with(wrong).is_refused(&["no good signature"]);
    }
}
