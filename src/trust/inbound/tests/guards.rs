//! What other verifiers let pass, at the mx door.

use super::*;
use crate::trust::keys::PrivateKey;

fn sender() -> PrivateKey {
    key("s", "example.net", Algorithm::Ed25519)
}

/// What is found of one signature by `key` whose text went through `change`; none where it is no signature at all.
fn found(letter: &str, key: &PrivateKey, change: impl Fn(String) -> String) -> Option<Verdict> {
    let field = forge::sign(letter.as_bytes(), key, change);
    let evidence = gather(&[&field, letter.as_bytes()].concat(), &Table::default().publish(key));
    evidence.signatures.into_iter().next().map(|signature| signature.verdict)
}

fn with(from: &str, to: &str) -> impl Fn(String) -> String {
    move |text| {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        changed
    }
}

/// The text with another `h=`.
fn listing(names: &'static str) -> impl Fn(String) -> String {
    move |text| {
        let (before, rest) = text.split_once(" h=").unwrap();
        format!("{before} h={names};{}", rest.split_once(';').unwrap().1)
    }
}

#[test]
fn what_is_malformed_is_no_signature() {
    let key = sender();
    assert_eq!(found(LETTER, &key, |text| text), Some(Verdict::Pass));
    for change in [
        with("s=s;", "s=*;"),
        with("s=s;", "s=a/b;"),
        with("s=s;", "s=s; s=s;"),
        with("s=s;", "s=s; S=s;"),
        with("s=s;", "s=s;;"),
        with("s=s;", "s=s; x;"),
        with("v=1;", "V=1;"),
        with("v=1;", "v=2;"),
        with("v=1;", ""),
        with("c=relaxed/relaxed", "c=future"),
        with("d=example.net", "d=com"),
        with("s=s;", "s=s; i=me@example.com;"),
        with("s=s;", "s=s; i=me=40example.com;"),
        with("s=s;", "s=s; i=me=4;"),
        with("s=s;", "s=s; q=http;"),
        with("s=s;", "s=s; t=tomorrow;"),
    ] {
        let described = change("v=1; c=relaxed/relaxed; d=example.net; s=s;".into());
        // A signature of com would be one, were it com's.
        let verdict = found(LETTER, &key, change);
        assert!(
            verdict.is_none() || described.contains("d=com") && verdict == Some(Verdict::NoKey),
            "{described}"
        );
    }
    for names in ["to:subject", "From::To", ":From:To", "From:To:", "Fr om\u{1}:To"] {
        assert_eq!(found(LETTER, &key, listing(names)), None, "{names:?}");
    }
    // White space and folds in h= mean nothing.
    assert_eq!(found(LETTER, &key, listing("fr\r\n om : TO\r\n\t:subject ")), Some(Verdict::Pass));
}

#[test]
fn forms_that_prove_nothing_count_as_unsigned() {
    let key = sender();
    let now = |time: i64| format!("s=s; t={};", NOW + time);
    for (to, verdict) in [
        (now(0), Verdict::Pass),
        (now(599), Verdict::Pass),
        (now(601), Verdict::Premature),
        (format!("s=s; x={NOW};"), Verdict::Expired),
        (format!("s=s; x={};", NOW + 1), Verdict::Pass),
        (format!("s=s; t={}; x={};", NOW + 9, NOW + 8), Verdict::Expired),
        ("s=s; l=8;".into(), Verdict::Unsupported("l= leaves the rest of the body unsigned".into())),
        ("s=s; l=0;".into(), Verdict::Unsupported("l= leaves the rest of the body unsigned".into())),
        ("s=s; l=x;".into(), Verdict::Unsupported("l= leaves the rest of the body unsigned".into())),
    ] {
        assert_eq!(found(LETTER, &key, with("s=s;", &to)), Some(verdict), "{to}");
    }
    for a in ["rsa-sha1", "rsa-md5", "dsa-sha256", "rsa-sha512"] {
        let verdict = found(LETTER, &key, with("a=ed25519-sha256", &format!("a={a}")));
        assert_eq!(verdict, Some(Verdict::Unsupported(format!("a={a} proves nothing"))));
    }
    // Even a wrong one is let in.
    for change in
        [with("s=s;", "s=s; l=3;"), with("a=ed25519-sha256", "a=rsa-sha1"), with("s=s;", "s=s; x=1;")]
    {
        let field = forge::sign(LETTER.as_bytes(), &key, change);
        let letter = LETTER.replace("Hello.", "Hullo.");
        assert_eq!(code(&[&field, letter.as_bytes()].concat(), &Table::default().publish(&key)), 250);
    }
}

#[test]
fn trailing_lines_of_blanks_are_no_part_of_a_relaxed_body() {
    let key = sender();
    let keys = Table::default().publish(&key);
    for (canon, verdict) in [
        ("relaxed/relaxed ;", Verdict::Pass),
        ("relaxed/simple;", Verdict::BrokenBody),
        ("relaxed;", Verdict::BrokenBody),
    ] {
        let field = forge::sign(LETTER.as_bytes(), &key, with("relaxed/relaxed;", canon));
        let received = |end: &str| [&field, LETTER.as_bytes(), end.as_bytes()].concat();
        assert_eq!(gather(&received(" \t\r\n\r\n \r\n"), &keys).signatures[0].verdict, verdict);
        assert_eq!(gather(&received("\r\n\r\n"), &keys).signatures[0].verdict, Verdict::Pass);
    }
}

#[test]
fn a_letter_without_a_body_has_the_hash_of_its_form() {
    let key = sender();
    let head = LETTER.split_inclusive("\r\n\r\n").next().unwrap();
    let bare = head.strip_suffix("\r\n").unwrap();
    assert_eq!(found(head, &key, |text| text), Some(Verdict::Pass));
    // Not even the empty line is there.
    assert_eq!(found(bare, &key, |text| text), Some(Verdict::Pass));
    let simple = |text: String| {
        let empty = text.split(" bh=").nth(1).unwrap().split(';').next().unwrap().to_owned();
        text.replace("relaxed/relaxed", "relaxed/simple")
            .replace(&empty, "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=")
    };
    assert_eq!(found(head, &key, simple), Some(Verdict::Pass));
    assert_eq!(found(bare, &key, simple), Some(Verdict::Pass));
}

#[test]
fn fields_are_taken_from_the_bottom_up() {
    let key = sender();
    let keys = Table::default().publish(&key);
    let letter = LETTER.replace("To:", "Received: two\r\nReceived: one\r\nTo:");
    let field = forge::sign(letter.as_bytes(), &key, listing("from:received:received:to"));
    let verdict =
        |letter: String| gather(&[&field, letter.as_bytes()].concat(), &keys).signatures[0].verdict.clone();
    assert_eq!(verdict(letter.clone()), Verdict::Pass);
    assert_eq!(verdict(format!("Received: three\r\n{letter}")), Verdict::Pass);
    assert_eq!(verdict(letter.replace("Received: one\r\n", "")), Verdict::BrokenSignature);
    assert_eq!(verdict(letter.replace("To:", "Received: zero\r\nTo:")), Verdict::BrokenSignature);
    let swapped = letter.replace("Received: two\r\nReceived: one\r\n", "Received: one\r\nReceived: two\r\n");
    assert_eq!(verdict(swapped), Verdict::BrokenSignature);
}

/// What a signature lists once it covers once: the From that was put on top of it is anybody's.
#[test]
fn a_second_from_of_the_same_domain_is_not_vouched_for() {
    let key = key("s", "example.org", Algorithm::Ed25519);
    let keys = Table::default().publish(&key);
    let letter = LETTER.replace("me@example.net", "me@example.org");
    for (names, first) in [("from:to:subject", 250), ("from:from:to:subject", 250)] {
        let field = forge::sign(letter.as_bytes(), &key, listing(names));
        let signed = [&field, letter.as_bytes()].concat();
        assert_eq!(code(&signed, &keys), first);
        assert_eq!(
            code(&[b"From: boss@example.org\r\n".as_slice(), &signed].concat(), &keys),
            550,
            "{names}"
        );
    }
}

#[test]
fn a_line_without_a_colon_hides_nothing_below_it() {
    let key = sender();
    let keys = Table::default().publish(&key);
    let field = forge::sign(LETTER.as_bytes(), &key, |text| text);
    let signed = [&field, LETTER.as_bytes()].concat();
    for top in [
        "no field at all\r\n",
        "no field at all\r\nFrom: me@example.org\r\n",
        "From: me@example.org\r\nno field\r\n",
    ] {
        let evidence = gather(&[top.as_bytes(), &signed].concat(), &keys);
        let mut authors: Vec<&str> = evidence.authors.iter().map(|author| author.domain.as_str()).collect();
        authors.sort();
        let forged = top.contains("From");
        assert_eq!(
            authors,
            if forged { vec!["example.net", "example.org"] } else { vec!["example.net"] },
            "{top:?}"
        );
        let verdict = if forged { Verdict::BrokenSignature } else { Verdict::Pass };
        assert_eq!(evidence.signatures[0].verdict, verdict, "{top:?}");
    }
}

#[test]
fn a_b_that_is_spelled_otherwise_is_the_same_signature() {
    let key = sender();
    let keys = Table::default().publish(&key);
    let field = String::from_utf8(forge::sign(LETTER.as_bytes(), &key, |text| text)).unwrap();
    let (head, b) = field.split_once(" b=").unwrap();
    let flat: String = b.chars().filter(|c| !c.is_whitespace()).collect();
    let mut marks = Vec::new();
    let spread: String = flat.chars().map(|c| format!("{c} \t")).collect();
    for b in [&flat, flat.trim_end_matches('='), &spread] {
        let evidence = gather(format!("{head} b={b}\r\n{LETTER}").as_bytes(), &keys);
        assert_eq!(evidence.signatures[0].verdict, Verdict::Pass, "{b}");
        marks.push(evidence.signatures[0].mark.clone());
    }
    marks.dedup();
    assert_eq!(marks.len(), 1, "and it is spent as one");
}

/// Ten are tried, from the top; a good one below them is not there.
#[test]
fn an_eleventh_signature_is_none() {
    let key = sender();
    let keys = Table::default().publish(&key);
    let good = forge::sign(LETTER.as_bytes(), &key, |text| text);
    let useless = forge::sign(LETTER.as_bytes(), &key, with("s=s;", "s=other;"));
    let passes = |before: usize| {
        let letter = [useless.repeat(before).as_slice(), &good, LETTER.as_bytes()].concat();
        gather(&letter, &keys).signatures.iter().any(|signature| signature.passes())
    };
    assert!(passes(9) && !passes(10));
    // What is no signature does not count among them.
    let letter = [b"DKIM-Signature: x\r\n".repeat(50).as_slice(), &good, LETTER.as_bytes()].concat();
    assert!(gather(&letter, &keys).signatures[0].passes());
}
