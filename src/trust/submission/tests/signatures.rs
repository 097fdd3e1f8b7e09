//! Rules 1, 2 and 7: who signed, what, in which form, and by which ssh key it came.

use super::*;

/// Signed with a changed signature, and sealed by the same key.
fn changed(change: impl Fn(String) -> String) -> Attempt {
    let message = on_top(forge::sign(LETTER.as_bytes(), &ME, change), LETTER.as_bytes());
    attempt(sealed(message, &ME))
}

fn with_record(record: &[&str]) -> Attempt {
    let mut attempt = attempt(sealed(signed(LETTER, &[&ME]), &ME));
    attempt.keys = attempt.keys.set("me._domainkey.example.org", Some(record));
    attempt
}

#[test]
fn rule_1_a_letter_bound_by_its_signature_is_accepted() {
    let accepted = good().is_accepted();
    assert_eq!(accepted.by, "me._domainkey.example.org");
    attempt(sealed(signed(LETTER, &[&ME_ED]), &ME_ED)).is_accepted();
    changed(|text| text).is_accepted();
}

#[test]
fn rule_1_no_signature() {
    attempt(sealed(LETTER.into(), &ME)).is_refused(&["no DKIM-Signature"]);
}

#[test]
fn rule_1_a_fake_signature() {
    attempt(sealed(on_top("DKIM-Signature: x\r\n", LETTER.as_bytes()), &ME)).is_refused(&["cannot be read"]);
}

#[test]
fn rule_1_a_foreign_key() {
    let attempt = attempt(sealed(signed(LETTER, &[&EVIL]), &EVIL));
    attempt.is_refused(&["evil.example", "d="]);
    assert!(attempt.asked().is_empty(), "a stranger made us ask DNS");
}

#[test]
fn rule_1_another_users_key() {
    let attempt = attempt(sealed(signed(LETTER, &[&BOSS]), &BOSS));
    attempt.is_refused(&["\"boss\"", "does not belong"]);
    assert!(attempt.asked().is_empty());
}

#[test]
fn rule_1_another_users_key_under_my_selector() {
    let mut forged = key("me", "example.org", Algorithm::Rsa2048);
    forged.selector = "me".into();
    attempt(sealed(signed(LETTER, &[&forged]), &forged)).is_refused(&["does not match"]);
}

#[test]
fn rule_1_from_is_one_mailbox_of_the_sender() {
    for (from, words) in [
        ("From: boss@example.org", "not the mailbox"),
        ("From: me@example.net", "not in the domain"),
        ("From: me@example.org, boss@example.org", "2 mailboxes"),
        ("From: me@example.org, blog@example.org", "2 mailboxes"),
        ("From: nobody at all", "cannot be read"),
        ("From: \"boss@example.org\":;, me@example.org", "a group"),
        ("From: Boss: me@example.org;", "a group"),
        ("X-From: me@example.org", "0 From fields"),
    ] {
        let letter = LETTER.replace("From: Me <me@example.org>", from);
        let message = signed(&letter, &[&ME]);
        attempt(sealed(message, &ME)).is_refused(&["rule 1", words]);
    }
    let letter = LETTER.replace("From: Me <me@example.org>", "From: My Blog <blog@example.org>");
    attempt(sealed(signed(&letter, &[&ME]), &ME)).is_accepted();
}

#[test]
fn rule_1_sender_and_resent_from_are_the_sender() {
    for name in ["Sender", "Resent-From"] {
        let with = |who: &str| format!("{name}: {who}\r\n{LETTER}");
        attempt(sealed(signed(&with("boss@example.org"), &[&ME]), &ME))
            .is_refused(&[name, "boss@example.org"]);
        attempt(sealed(signed(&with("who knows"), &[&ME]), &ME)).is_refused(&[name, "cannot be read"]);
        attempt(sealed(signed(&with("blog@example.org"), &[&ME]), &ME)).is_accepted();
    }
}

#[test]
fn rule_1_i_names_no_other_user() {
    let with = |i: &str| changed(|text| text.replace("s=me;", &format!("s=me; i={i};")));
    with("boss@example.org").is_refused(&["boss@example.org", "i="]);
    with("=62oss@example.org").is_refused(&["i="]);
    with("me@sub.example.org").is_refused(&["i="]);
    with("@sub.example.org").is_accepted();
    with("@boss@example.org").is_refused(&["i="]);
    with("@boss=40x.example.org").is_refused(&["i="]);
    with("me@evil.example").is_refused(&["cannot be read", "i="]);
    with("blog@example.org").is_accepted();
    with("@example.org").is_accepted();
}

#[test]
fn rule_1_h_covers_every_instance() {
    for name in ["To", "Subject", "Date", "Message-ID"] {
        changed(|text| text.replace(&format!("{name}:{name}"), name)).is_accepted();
        changed(|text| text.replace(&format!("{name}:{name}:"), "")).is_refused(&[name, "h="]);
    }
    changed(|text| text.replace("From:From:", "")).is_refused(&["leaves out From"]);
}

#[test]
fn rule_1_no_l() {
    changed(|text| text.replace("s=me;", "s=me; l=5;")).is_refused(&["l="]);
    let appended = |attempt: &mut Attempt| attempt.message.extend_from_slice(b"Buy!\r\n");
    let mut with = changed(|text| text.replace("s=me;", "s=me; l=0;"));
    appended(&mut with);
    with.is_refused(&["l="]);
}

#[test]
fn rule_1_no_rsa_sha1() {
    changed(|text| text.replace("a=rsa-sha256", "a=rsa-sha1")).is_refused(&["rsa-sha1"]);
    changed(|text| text.replace("a=rsa-sha256", "a=none")).is_refused(&["a=none"]);
}

#[test]
fn rule_1_no_expired_signature() {
    changed(|text| text.replace("s=me;", &format!("s=me; x={};", NOW - 1))).is_refused(&["x="]);
    changed(|text| text.replace("s=me;", &format!("s=me; x={};", NOW + 60))).is_accepted();
}

#[test]
fn rule_1_no_signature_of_the_future() {
    let text = |time| changed(move |text| text.replace("s=me;", &format!("s=me; t={time};")));
    text(NOW + 7200).is_answered(451, &["clocks differ", "t="]);
    text(NOW + 60).is_accepted();
}

#[test]
fn rule_1_no_duplicate_tags() {
    changed(|text| text.replace("d=example.org;", "d=evil.example; d=example.org;")).is_refused(&["twice"]);
}

#[test]
fn rule_1_no_revoked_testing_or_unfit_key() {
    let p = ME.txt_record().unwrap().replace("v=DKIM1; k=rsa; ", "");
    with_record(&["v=DKIM1; k=rsa; p="]).is_refused(&["revoked"]);
    with_record(&[&format!("v=DKIM1; t=y; {p}")]).is_refused(&["testing"]);
    with_record(&[&format!("v=DKIM1; t=s : y; {p}")]).is_refused(&["testing"]);
    with_record(&[&format!("v=DKIM1; h=sha1; {p}")]).is_refused(&["h="]);
    with_record(&[&format!("v=DKIM1; s=tlsrpt; {p}")]).is_refused(&["s="]);
    with_record(&[&format!("v=DKIM1; k=ed25519; {p}")]).is_refused(&["type"]);
    with_record(&[&format!("v=DKIM1; {p}; p=AAAA")]).is_refused(&["twice"]);
    with_record(&[&format!("{p}; v=DKIM1")]).is_refused(&["version"]);
    with_record(&[&format!("v=DKIM1; {p}"), "v=DKIM1; p="]).is_refused(&["several"]);
    with_record(&[]).is_refused(&["no key in DNS"]);
    with_record(&["v=spf1 -all"]).is_refused(&["no key in DNS"]);
    with_record(&[&p, "v=spf1 -all"]).is_accepted();
}

#[test]
fn rule_1_another_key_behind_the_selector() {
    let other = key("me", "example.org", Algorithm::Rsa2048).txt_record().unwrap();
    with_record(&[&other]).is_refused(&["does not match", "published"]);
}

#[test]
fn rule_1_a_changed_letter() {
    let text = |attempt: Attempt| String::from_utf8(attempt.message).unwrap();
    attempt(text(good()).replace("Hello you", "Hello, send money").into()).is_refused(&["bh="]);
    attempt(text(good()).replace("Subject: hello", "Subject: urgent").into()).is_refused(&["does not match"]);
}

#[test]
fn rule_1_dns_trouble_is_temporary() {
    let mut attempt = attempt(sealed(signed(LETTER, &[&ME]), &ME));
    attempt.keys = attempt.keys.set("me._domainkey.example.org", None);
    attempt.is_answered(451, &["me._domainkey.example.org", "SERVFAIL"]);
}

#[test]
fn rule_1_one_good_signature_is_enough() {
    let fakes = "DKIM-Signature: x\r\nDKIM-Signature: v=1; a=rsa-sha256; d=evil.example; s=x; h=from; bh=AAAA; \
                 b=AAAA\r\n";
    let message = on_top(fakes, &signed(LETTER, &[&EVIL, &BOSS, &ME]));
    let with = attempt(sealed(message, &ME));
    with.is_accepted();
    assert_eq!(with.asked(), ["me._domainkey.example.org"]);
    let mut other_key_in_trouble = good();
    other_key_in_trouble.keys = other_key_in_trouble.keys.set("me.ed25519._domainkey.example.org", None);
    other_key_in_trouble.is_accepted();
}

#[test]
fn rule_1_four_signatures_are_looked_at() {
    let fake = "DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=me; h=from; bh=AAAA; b=AAAA\r\n";
    let message = on_top(fake.repeat(2), &signed(LETTER, &[&ME]));
    attempt(sealed(message, &ME)).is_accepted();
    let message = on_top(fake.repeat(4), &signed(LETTER, &[&ME]));
    let crowded = attempt(sealed(message, &ME));
    crowded.is_refused(&["leaves"]);
    assert_eq!(crowded.gather().evidence.unread.len(), 2);
}

#[test]
fn rule_2_strict_form() {
    let good = String::from_utf8(good().message).unwrap();
    let long = format!("X-Long: {}\r\n", "a".repeat(20_000));
    for (field, words) in [
        ("From: boss@example.org\r\n", "second From"),
        ("From : boss@example.org\r\n", "white space"),
        ("no colon here\r\n", "colon"),
        (" leading\r\n", "continuation"),
        ("X: a\r\n \t\r\n", "white space"),
        ("X: a\nb\r\n", "line feed"),
        ("X: a\rb\r\n", "carriage return"),
        ("X: a\0b\r\n", "NUL"),
        ("F\u{ad}rom: boss@example.org\r\n", "ASCII"),
        (long.as_str(), "998"),
    ] {
        let attempt = attempt(on_top(field, good.as_bytes()));
        attempt.is_refused(&["rule 2", words]);
        assert!(attempt.asked().is_empty());
    }
}

#[test]
fn rule_7_the_ssh_key_counts_too() {
    let through = |permits: &[Permit<DirId>]| {
        let mut attempt = good();
        attempt.session.channel = Channel::Gate(permits.to_vec());
        attempt
    };
    through(&[Permit::Directory(id(1))]).is_accepted();
    through(&[Permit::Directory(id(2)), Permit::Domain(Domain::parse("example.org").unwrap())]).is_accepted();
    through(&[]).is_refused(&["rule 7", "authorized_keys"]);
    through(&[Permit::Directory(id(2))]).is_refused(&["rule 7"]);
    through(&[Permit::Domain(Domain::parse("example.net").unwrap())]).is_refused(&["rule 7"]);
    let from_topic = |permitted: u64| {
        let mut attempt = through(&[Permit::Directory(id(permitted))]);
        attempt.session.mailbox = id(3);
        attempt
    };
    from_topic(1).is_accepted();
    from_topic(3).is_accepted();
    from_topic(4).is_refused(&["rule 7"]);
    through(&[Permit::Directory(id(3))]).is_refused(&["rule 7"]);
}

/// Whoever owns which selector: the count is of all of them.
#[test]
fn rule_2_not_more_signatures_than_can_be_hashed_in_a_moment() {
    let crowd = |count: usize, signature: &str| {
        let message = sealed(signed(LETTER, &[&ME]), &ME);
        attempt(on_top(signature.repeat(count), &message))
    };
    let of_mine = "DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=me; h=from; bh=AAAA; b=AAAA\r\n";
    let of_nobody = "DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=x; h=from; bh=AAAA; b=AAAA\r\n";
    // Two are the letter's own.
    crowd(98, of_nobody).is_accepted();
    for signature in [of_mine, of_nobody] {
        let crowded = crowd(99, signature);
        crowded.is_refused(&["rule 2", "101 DKIM-Signature fields; 100 are allowed"]);
        let evidence = crowded.gather().evidence;
        assert!(evidence.unread.is_empty() && evidence.dismissed.is_empty() && crowded.asked().is_empty());
    }
}

#[test]
fn rule_1_not_more_mailboxes_are_looked_up_than_anybody_has() {
    let with = |field: &str| attempt(sealed(signed(&format!("{field}{LETTER}"), &[&ME]), &ME));
    let resent =
        |count: usize| format!("Resent-From: {}me@example.org\r\n", "blog@example.org,\r\n ".repeat(count));
    with(&resent(98)).is_accepted();
    // With that in From they are 101, in one field or in two.
    for fields in [resent(99), resent(49).repeat(2)] {
        let crowded = with(&fields);
        crowded.is_refused(&["rule 1", "too many mailboxes"]);
        let looked_up = crowded
            .gather()
            .evidence
            .claims
            .iter()
            .flat_map(|claim| claim.mailboxes.iter().flatten())
            .count();
        assert!(looked_up <= 100, "{looked_up}");
    }
}
