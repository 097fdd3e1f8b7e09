//! What key records may look like, at the mx door: each row is a record for the key that signed, and what comes of it.

use super::*;
use crate::trust::keys::PrivateKey;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

fn verdict(records: &[&str], key: &PrivateKey, change: impl Fn(String) -> String) -> Verdict {
    let field = forge::sign(LETTER.as_bytes(), key, change);
    let keys = Table::default().set("s._domainkey.example.net", Some(records));
    let mut evidence = gather(&[&field, LETTER.as_bytes()].concat(), &keys);
    assert_eq!(evidence.signatures.len(), 1);
    evidence.signatures.remove(0).verdict
}

fn p(key: &PrivateKey) -> String {
    let record = key.txt_record().unwrap();
    record.split("p=").nth(1).unwrap().to_owned()
}

#[test]
fn rows() {
    let key = key("s", "example.net", Algorithm::Rsa2048);
    let p = p(&key);
    let spaced = p.replace('A', "A ");
    for (record, good) in [
        (format!("v=DKIM1; k=rsa; p={p}"), true),
        (format!("p={p}"), true),
        (format!(" v=DKIM1 ;\t p = {spaced} ;"), true),
        (format!("k=rsa; p={p}; unknown=1; n=a note: for people"), true),
        (format!("v=DKIM1; h=sha1:sha256; s=email:*; t=s:x; p={p}"), true),
        (format!("v=DKIM1; h=sha1 : sha256; s=*; n=; p={p}"), true),
        // RFC 6376 took g= away.
        (format!("v=DKIM1; g=nobody; p={p}"), true),
        (format!("k=rsa; v=DKIM1; p={p}"), false),
        (format!("v=DKIM2; p={p}"), false),
        (format!("v=dkim1; p={p}"), false),
        (format!("v=DKIM1; h=sha1; p={p}"), false),
        (format!("v=DKIM1; s=chat; p={p}"), false),
        (format!("v=DKIM1; k=ed25519; p={p}"), false),
        (format!("v=DKIM1; k=dsa; p={p}"), false),
        (format!("v=DKIM1; p={p}; p={p}"), false),
        (format!("v=DKIM1; t; p={p}"), false),
        ("v=DKIM1; k=rsa; p=!".into(), false),
        ("v=DKIM1; k=rsa; p=AAAA".into(), false),
        ("v=DKIM1; k=rsa".into(), false),
        ("\"\"".into(), false),
    ] {
        let verdict = verdict(&[&record], &key, |text| text);
        let unsigned = matches!(verdict, Verdict::UnusableKey(_) | Verdict::NoKey);
        assert_eq!((verdict == Verdict::Pass, unsigned), (good, !good), "{record}: {verdict:?}");
    }
    let record = |tags: &str| format!("v=DKIM1; {tags}p={p}");
    assert_eq!(verdict(&["v=DKIM1; p="], &key, |text| text), Verdict::Revoked);
    assert_eq!(verdict(&[&record("t=y; ")], &key, |text| text), Verdict::Testing);
    assert_eq!(verdict(&[&record("t = x : y ; ")], &key, |text| text), Verdict::Testing);
    assert_eq!(verdict(&[], &key, |text| text), Verdict::NoKey);
    assert_eq!(verdict(&["v=spf1 -all", &record("")], &key, |text| text), Verdict::Pass);
    assert!(matches!(verdict(&[&record(""), &record("")], &key, |text| text), Verdict::UnusableKey(_)));
}

#[test]
fn t_s_wants_i_in_d_itself() {
    let key = key("s", "example.net", Algorithm::Rsa2048);
    let with = |i: &'static str, flags: &str| {
        let record = format!("v=DKIM1; {flags}p={}", p(&key));
        verdict(&[&record], &key, |text| text.replace("s=s;", &format!("s=s; i={i};")))
    };
    for i in ["me@example.net", "@EXAMPLE.net", "m=65=40example=2Enet", "=6De@example\r\n .net"] {
        assert_eq!(with(i, "t=s; "), Verdict::Pass, "{i}");
    }
    for i in ["me@a.example.net", "@a.example.net", "me=40a.example.net"] {
        assert_eq!(with(i, ""), Verdict::Pass, "{i}");
        assert!(matches!(with(i, "t=s; "), Verdict::UnusableKey(_)), "{i}");
    }
}

/// A key whose modulus has these octets.
fn rsa_record(modulus: &[u8]) -> String {
    let der = |tag: u8, content: &[u8]| match u16::try_from(content.len()).unwrap().to_be_bytes() {
        [0, length @ ..=0x7f] => [&[tag, length], content].concat(),
        [0, length] => [&[tag, 0x81, length], content].concat(),
        [high, low] => [&[tag, 0x82, high, low], content].concat(),
    };
    let sign: &[u8] = if modulus[0] < 0x80 { &[] } else { &[0] };
    let numbers = [der(2, &[sign, modulus].concat()), der(2, &[1, 0, 1])].concat();
    format!("v=DKIM1; p={}", STANDARD.encode(der(0x30, &numbers)))
}

/// Such a key matches nothing; that does not make the letter a forgery.
#[test]
fn keys_too_small_or_too_large_are_no_reason_to_refuse() {
    let key = key("s", "example.net", Algorithm::Rsa2048);
    let of = |first: u8, octets: usize| {
        let mut modulus = vec![0xff; octets];
        modulus[0] = first;
        verdict(&[&rsa_record(&modulus)], &key, |text| text)
    };
    assert_eq!(of(0x0f, 128), Verdict::UnusableKey("it has only 1020 bits".into()));
    assert_eq!(of(0xff, 64), Verdict::UnusableKey("it has only 512 bits".into()));
    assert_eq!(of(0xff, 1025), Verdict::UnusableKey("it has 8200 bits, too many".into()));
    assert_eq!(of(0xff, 128), Verdict::BrokenSignature);
    let weak = include_bytes!("../../fixtures/weak.eml");
    let record = include_str!("../../fixtures/k1024.txt");
    let keys = Table::default().set("me._domainkey.example.org", Some(&[record]));
    let signatures = gather_at(NOW + 86_400, weak, &keys).signatures;
    assert_eq!((&signatures[0].verdict, signatures[0].rsa_bits), (&Verdict::Pass, Some(1024)));
}
