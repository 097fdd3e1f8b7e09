//! Rule 6: the article's own client, by its signature alone.

use super::*;

fn plain(message: Vec<u8>) -> Attempt {
    let mut attempt = attempt(message);
    attempt.session.accept = vec![Accept::Sealed, Accept::Plain];
    attempt
}

const FIXTURES: [(&str, &[u8]); 3] = [
    ("relaxed", include_bytes!("../../fixtures/relaxed.eml")),
    ("simple", include_bytes!("../../fixtures/simple.eml")),
    ("mixed", include_bytes!("../../fixtures/mixed.eml")),
];

/// Signed by dkimpy 1.1 with a key of openssl.
fn by_dkimpy(message: &[u8], record: &str) -> Attempt {
    let mut attempt = plain(message.to_vec());
    attempt.keys = Table::default().set("me._domainkey.example.org", Some(&[record]));
    // dkimpy writes the time of signing.
    attempt.now = 1_795_362_700;
    attempt
}

#[test]
fn rule_6_a_plain_signature_where_it_is_allowed() {
    let accepted = plain(signed(LETTER, &[&ME])).is_accepted();
    assert_eq!((accepted.nonce, accepted.spends.len()), (None, 1));
    for (name, message) in FIXTURES {
        let record = include_str!("../../fixtures/k2048.txt");
        println!("{name}");
        by_dkimpy(message, record).is_accepted();
    }
}

#[test]
fn rule_6_a_repeat_may_have_other_trace_fields_but_no_other_envelope() {
    let letter = signed(LETTER, &[&ME]);
    let traced = |id: &str| plain(on_top(format!("Received: by laptop with local id {id}\r\n"), &letter));
    let first = traced("1").is_accepted();
    assert_eq!(once(&traced("2").is_accepted()), once(&first));
    let more = on_top("X-New: 1\r\n", &letter);
    assert_ne!(plain(more).is_accepted().digest, first.digest);
    let mut to_others = traced("1");
    to_others.session.recipients = vec![address("them@example.net")];
    assert_ne!(to_others.is_accepted().digest, first.digest);
}

#[test]
fn rule_6_off_by_default_and_on_loopback_only() {
    attempt(signed(LETTER, &[&ME])).is_refused(&["no Envelope-Seal"]);
    let mut through_gate = plain(signed(LETTER, &[&ME]));
    through_gate.session.channel = Channel::Gate(vec![Permit::Directory(id(1))]);
    through_gate.is_refused(&["rule 6", "loopback"]);
}

#[test]
fn rule_6_of_this_hour() {
    let at = |now: i64, letter: &str| {
        let mut attempt = plain(on_top(forge::sign(letter.as_bytes(), &ME, |text| text), letter.as_bytes()));
        attempt.now = now;
        attempt
    };
    at(NOW + 3600, LETTER).is_accepted();
    at(NOW + 3601, LETTER).is_refused(&["rule 6", "an hour"]);
    at(NOW - 3601, LETTER).is_answered(451, &["rule 6", "clock"]);
    let dateless = LETTER.replace("Date:", "X-Date:");
    at(NOW, &dateless).is_refused(&["rule 6", "neither"]);
}

#[test]
fn rule_1_no_rsa_key_of_1024_bits() {
    let record = include_str!("../../fixtures/k1024.txt");
    by_dkimpy(include_bytes!("../../fixtures/weak.eml"), record).is_refused(&["1024 bits"]);
}

#[test]
fn keys_of_openssl_sign() {
    for pem in [
        &include_bytes!("../../fixtures/openssl-rsa-pkcs1.pem")[..],
        &include_bytes!("../../fixtures/openssl-ed25519.pem")[..],
    ] {
        let key = PrivateKey::from_pem(pem, "me", &Domain::parse("example.org").unwrap()).unwrap();
        let mut attempt = plain(signed(LETTER, &[&key]));
        attempt.keys = Table::default().publish(&key);
        attempt.is_accepted();
    }
}
