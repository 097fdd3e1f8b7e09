//! The signed examples of the RFCs, with their published keys.

use super::*;

/// RFC 6376 appendix A.2. It is signed with the simple forms, so each blank counts.
const RFC_6376: &str = "\
DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
        4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
        KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
        4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game. Are you hungry yet?

Joe.
";

/// RFC 6376 appendix C, as far as it is the key of the example.
const BRISBANE_RSA: &str = "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/\
zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIM\
mPSPDdQPNUYckcQ2QIDAQAB";

/// RFC 8463 appendix A.3.
const RFC_8463: &str = "\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
";

/// RFC 8463 appendix A.2.
const BRISBANE_ED25519: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
const TEST_RSA: &str = "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2j\
LQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB";

fn verdicts(letter: &str, keys: &Table) -> Vec<Verdict> {
    let evidence = gather(letter.replace('\n', "\r\n").as_bytes(), keys);
    evidence.signatures.into_iter().map(|signature| signature.verdict).collect()
}

#[test]
fn rfc_6376() {
    let keys = Table::default().set("brisbane._domainkey.example.com", Some(&[BRISBANE_RSA]));
    assert_eq!(verdicts(RFC_6376, &keys), [Verdict::Pass]);
    let changed = |from: &str, to: &str| verdicts(&RFC_6376.replacen(from, to, 1), &keys);
    // Simple forms: a blank, a fold or a capital is a change.
    assert_eq!(changed("game. Are", "game.  Are"), [Verdict::BrokenBody]);
    assert_eq!(changed("Is dinner", "Is  dinner"), [Verdict::BrokenSignature]);
    assert_eq!(changed("Subject: Is", "subject: Is"), [Verdict::BrokenSignature]);
    assert_eq!(changed("      h=", "     h="), [Verdict::BrokenSignature]);
    // But not how b= is folded, nor what is on top.
    assert_eq!(changed("UoqOB\n        4nuj", "UoqOB4nuj"), [Verdict::Pass]);
    assert_eq!(changed("DKIM", "Received: by mx.example.net\nDKIM"), [Verdict::Pass]);
    assert_eq!(changed("Joe.\n", "Joe.\n\n\n"), [Verdict::Pass]);
}

#[test]
fn rfc_8463() {
    let keys = Table::default()
        .set("brisbane._domainkey.football.example.com", Some(&[BRISBANE_ED25519]))
        .set("test._domainkey.football.example.com", Some(&[TEST_RSA]));
    assert_eq!(verdicts(RFC_8463, &keys), [Verdict::Pass, Verdict::Pass]);
    let changed = |from: &str, to: &str| verdicts(&RFC_8463.replacen(from, to, 1), &keys);
    assert_eq!(changed("Subject: Is dinner", "SUBJECT:  Is\n\tdinner "), [Verdict::Pass, Verdict::Pass]);
    assert_eq!(changed("lost", "won"), [Verdict::BrokenBody, Verdict::BrokenBody]);
    assert_eq!(changed("Is dinner", "Is lunch"), [Verdict::BrokenSignature, Verdict::BrokenSignature]);
    assert_eq!(
        changed("s=test", "s=brisbane")[1],
        Verdict::UnusableKey("it is of type \"ed25519\", the signature is rsa-sha256".into())
    );
}
