use super::*;
use crate::mail::address::{Address, Domain};
use crate::trust::keys::{Algorithm, generate_pem};
use crate::trust::seal::{Seal, seal};
use crate::trust::tags::squeezed;

const LETTER: &[u8] = b"From: Me <me@example.org>\r\nTo: you@example.net\r\nSubject: a\r\n b  c\r\n\
    Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n\r\nHello \t you \r\n\r\n  \r\n\t\r\n";

fn key(algorithm: Algorithm) -> PrivateKey {
    let pem = generate_pem(algorithm).unwrap();
    PrivateKey::from_pem(pem.as_bytes(), "me", &Domain::parse("example.org").unwrap()).unwrap()
}

#[test]
fn each_listed_name_stands_once_more_than_the_letter_has_it() {
    let signed = sign_at(LETTER, &[&key(Algorithm::Ed25519)], 1_800_000_000).unwrap();
    let text = squeezed(std::str::from_utf8(&signed).unwrap());
    assert!(
        text.contains(
            ";h=From:From:Sender:Reply-To:To:To:Cc:Subject:Subject:Date:Date:Message-ID:MIME-Version:\
             Content-Type:Content-Transfer-Encoding;"
        ),
        "{text}"
    );
    assert!(text.contains(";t=1800000000;") && !text.contains(";l=") && !text.contains(";x="));
}

#[test]
fn one_field_per_key_of_short_lines() {
    let (rsa, ed25519) = (key(Algorithm::Rsa2048), key(Algorithm::Ed25519));
    let signed = String::from_utf8(sign(LETTER, &[&rsa, &ed25519]).unwrap()).unwrap();
    assert_eq!(signed.matches("DKIM-Signature:").count(), 2);
    assert!(signed.contains("a=rsa-sha256;") && signed.contains("a=ed25519-sha256;"));
    assert!(signed.ends_with("\r\n") && signed.lines().all(|line| line.len() <= 78), "{signed}");
}

#[test]
fn the_same_letter_twice_in_a_second_has_two_signatures() {
    let key = key(Algorithm::Rsa2048);
    let signed = || sign(LETTER, &[&key]).unwrap();
    assert_ne!(signed(), signed());
    let at = |time| sign_at(LETTER, &[&key], time).unwrap();
    assert_eq!(at(1_800_000_000), at(1_800_000_000), "which is why");
}

/// mail-auth is another's reading of RFC 6376: what it computes from the same bytes must be what was signed. Trailing lines
/// of white space are left out: it hashes them, against section 3.4.4.
#[test]
fn mail_auth_computes_the_same_hash_and_input() {
    let key = key(Algorithm::Rsa2048);
    let letter = LETTER.strip_suffix(b"  \r\n\t\r\n").unwrap();
    let mut message = sign(letter, &[&key]).unwrap();
    message.extend_from_slice(letter);
    let parsed = mail_auth::AuthenticatedMessage::parse(&message).unwrap();
    let signature = &parsed.dkim_headers[0].header;
    assert!(parsed.body_hashes.iter().any(|(_, _, _, hash)| *hash == signature.bh));
    let record = key.txt_record().unwrap();
    use mail_auth::common::parse::TxtRecordParser;
    let public = mail_auth::common::verify::DomainKey::parse(record.as_bytes()).unwrap();
    let unsigned = unsigned(parsed.dkim_headers[0].value);
    let mut headers = parsed.signed_headers(&signature.h, parsed.dkim_headers[0].name, &unsigned);
    public.p.verify(&mut headers, &signature.b, signature.ch, signature.a).unwrap();
}

fn unsigned(value: &[u8]) -> Vec<u8> {
    let at = value.windows(3).position(|three| three == b" b=").unwrap();
    value[..at + 3].to_vec()
}

#[test]
fn a_seal_is_covered_by_a_signature_that_oversigns_it() {
    let seal_ = Seal {
        time: 1_800_000_000,
        nonce: "0".repeat(32),
        server: "mx.example.org".into(),
        sender: Address::parse("me@example.org").unwrap(),
        recipients: vec![Address::parse("you@example.net").unwrap()],
    };
    let sealed = String::from_utf8(seal(LETTER, &seal_, &key(Algorithm::Ed25519)).unwrap()).unwrap();
    assert!(sealed.starts_with("DKIM-Signature:") && sealed.contains("\r\nEnvelope-Seal: v=1; t="));
    assert!(squeezed(&sealed).contains(":Envelope-Seal:Envelope-Seal;bh="), "{sealed}");
    let twice = [sealed.as_bytes(), LETTER].concat();
    assert!(seal(&twice, &seal_, &key(Algorithm::Ed25519)).is_err());
}

#[test]
fn a_letter_that_is_not_in_strict_form_is_not_signed() {
    let error = sign(b"From : me@example.org\r\n\r\n", &[&key(Algorithm::Ed25519)]).unwrap_err();
    assert!(error.0.contains("cannot be signed"), "{error}");
}
