//! Sessions under TLS, with a server of rustls in the same process.

use super::*;
use crate::net::tls::Identity;
use crate::net::tls::tests::pki::{Pki, Shown};
use rcgen::PKCS_ECDSA_P256_SHA256;

const HOST: &str = "mx.example";
const BEFORE: [(&str, &str); 3] =
    [("", "220 mx.example\r\n"), ("EHLO", "250-mx\r\n250 STARTTLS\r\n"), ("STARTTLS\r\n", "220 go\r\n")];
const AFTER: [(&str, &str); 4] = [
    ("EHLO", "250-mx\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n"),
    ("DATA", "250 a\r\n250 b\r\n354 c\r\n"),
    (".\r\n", "250 queued\r\n"),
    ("QUIT", "221 bye\r\n"),
];

pub(super) fn opening<'a>(tls: &'a TlsClient, demand: &'a Demand, implicit_tls: bool) -> Opening<'a> {
    let patience = Duration::from_secs(60);
    Opening { helo: "home.example", names: &[HOST], demand, implicit_tls, tls, login: None, patience }
}

/// A server that says `before` in clear, then shakes hands and says `after`. What it heard in clear, and under TLS.
async fn tls_server(
    stream: DuplexStream,
    shown: Shown,
    before: &[(&str, &str)],
    after: &[(&str, &str)],
) -> (String, String) {
    let (stream, clear) = scripted_on(stream, before).await;
    match shown.acceptor().accept(stream).await {
        Ok(stream) => (clear, scripted_on(stream, after).await.1),
        Err(_) => (clear, String::new()),
    }
}

/// Opens a session, sends a letter and quits.
async fn send(stream: DuplexStream, opening: Opening<'_>) -> Result<(Outcome, Protection), Trouble> {
    let mut session = Session::open(stream, opening).await?;
    let outcome = session.send(request(&["a@b.example"], 3), &b"x\r\n"[..]).await;
    let protection = session.protection().clone();
    session.quit().await;
    Ok((outcome, protection))
}

#[tokio::test]
async fn a_letter_goes_out_under_tls() {
    let pki = Pki::new(&PKCS_ECDSA_P256_SHA256);
    let tls = pki.client();
    let greeting = [&BEFORE[..1], &AFTER].concat();
    for room in [64, 1 << 16] {
        for demand in [Demand::Opportunistic, Demand::Encrypted, Demand::Verified] {
            for (implicit, before, after) in [(false, &BEFORE[..], &AFTER[..]), (true, &[], &greeting)] {
                let (near, far) = duplex(room);
                let client = send(near, opening(&tls, &demand, implicit));
                let server = tls_server(far, pki.host(&[HOST]), before, after);
                let (sent, (clear, private)) = tokio::join!(client, server);
                let (outcome, protection) = sent.unwrap();
                assert!(matches!(outcome.fates[..], [Fate::Accepted(_)]), "{outcome:?}");
                assert!(
                    matches!(&protection, Protection::Tls(secured) if secured.identity == Identity::Verified),
                    "{protection:?}"
                );
                let starttls = if implicit { "" } else { "EHLO home.example\r\nSTARTTLS\r\n" };
                assert_eq!(clear, starttls);
                assert_eq!(
                    private,
                    "EHLO home.example\r\nMAIL FROM:<me@here.example>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n\
                     x\r\n.\r\nQUIT\r\n"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_login_goes_out_under_tls() {
    let pki = Pki::new(&PKCS_ECDSA_P256_SHA256);
    let (tls, login) = (pki.client(), Login { user: "me".into(), password: "secret".into() });
    let after = [&AFTER[..1], &[("AUTH PLAIN AG1lAHNlY3JldA==\r\n", "235 ok\r\n")], &AFTER[1..]].concat();
    let (near, far) = duplex(4096);
    let opening = Opening { login: Some(&login), ..opening(&tls, &Demand::Verified, false) };
    let (sent, (clear, _)) =
        tokio::join!(send(near, opening), tls_server(far, pki.host(&[HOST]), &BEFORE, &after));
    assert!(matches!(sent.unwrap().0.fates[..], [Fate::Accepted(_)]));
    assert!(!clear.contains("AUTH"));
}

#[tokio::test]
async fn a_certificate_that_is_not_what_is_demanded_gets_no_letter() {
    let (pki, stranger) = (Pki::new(&PKCS_ECDSA_P256_SHA256), Pki::new(&PKCS_ECDSA_P256_SHA256));
    let tls = pki.client();
    let (near, far) = duplex(1 << 16);
    let client = send(near, opening(&tls, &Demand::Verified, false));
    let (sent, (_, private)) = tokio::join!(client, tls_server(far, stranger.host(&[HOST]), &BEFORE, &AFTER));
    assert!(matches!(&sent, Err(Trouble::Handshake(why)) if why.contains("certificate")), "{sent:?}");
    assert_eq!(private, "");
    let (near, far) = duplex(1 << 16);
    let client = send(near, opening(&tls, &Demand::Opportunistic, false));
    let (sent, _) = tokio::join!(client, tls_server(far, stranger.host(&[HOST]), &BEFORE, &AFTER));
    let (outcome, protection) = sent.unwrap();
    assert!(matches!(outcome.fates[..], [Fate::Accepted(_)]));
    assert!(
        matches!(&protection, Protection::Tls(Secured { identity: Identity::Unverified(_), .. })),
        "{protection:?}"
    );
}

#[tokio::test]
async fn without_starttls_what_is_demanded_decides() {
    let tls = Pki::new(&PKCS_ECDSA_P256_SHA256).client();
    let refuses = [BEFORE[0], BEFORE[1], ("STARTTLS\r\n", "454 4.7.0 no key\r\n")];
    let lacks = [BEFORE[0], ("EHLO", "250-mx\r\n250 PIPELINING\r\n")];
    for (script, clear) in [(&refuses[..], "refused: 454 4.7.0 no key"), (&lacks, "not offered")] {
        for demand in [Demand::Encrypted, Demand::Verified, Demand::Dane(Vec::new())] {
            let (near, far) = duplex(4096);
            let (sent, (_, heard)) =
                tokio::join!(send(near, opening(&tls, &demand, false)), scripted_on(far, script));
            assert!(matches!(&sent, Err(Trouble::NoTls(_))), "{sent:?}");
            assert!(!heard.contains("MAIL"));
        }
        let envelope = [("MAIL", "250 a\r\n550 b\r\n503 c\r\n")];
        let (near, far) = duplex(4096);
        let script = [script, &envelope].concat();
        let (sent, _) =
            tokio::join!(send(near, opening(&tls, &Demand::Opportunistic, false)), scripted_on(far, &script));
        assert_eq!(sent.unwrap().1, Protection::Clear(clear.into()));
    }
    let (near, far) = duplex(4096);
    let script = [BEFORE[0], BEFORE[1], ("MAIL", "550 no\r\n")];
    let (sent, (_, heard)) =
        tokio::join!(send(near, opening(&tls, &Demand::Clear, false)), scripted_on(far, &script));
    assert_eq!(sent.unwrap().1, Protection::Clear("not asked for".into()));
    assert!(!heard.contains("STARTTLS"));
}

#[tokio::test]
async fn nothing_that_was_said_in_clear_is_taken_for_an_answer_under_tls() {
    let tls = Pki::new(&PKCS_ECDSA_P256_SHA256).client();
    let injected = "220 go\r\n250-mx\r\n250 PIPELINING\r\n250 a\r\n250 b\r\n354 c\r\n";
    // Together with the 220 or behind it: the connection is of no use.
    for parts in [vec![injected], vec!["220 go\r\n", &injected[8..]]] {
        for demand in [Demand::Opportunistic, Demand::Verified] {
            let (near, far) = duplex(4096);
            let mut script = vec![BEFORE[0], BEFORE[1], ("STARTTLS\r\n", parts[0])];
            script.extend(parts.get(1).map(|part| ("", *part)));
            let server = async { drop(scripted_on(far, &script).await) };
            let (sent, ()) = tokio::join!(send(near, opening(&tls, &demand, false)), server);
            assert!(matches!(&sent, Err(Trouble::Handshake(_))), "{sent:?}");
        }
    }
}

#[tokio::test]
async fn tls_that_ends_in_the_middle_of_the_message_ends_the_letter() {
    let pki = Pki::new(&PKCS_ECDSA_P256_SHA256);
    let tls = pki.client();
    let message = "line\r\n".repeat(1_000_000);
    for closes_well in [true, false] {
        let (near, far) = duplex(4096);
        let server = async {
            let (stream, _) = scripted_on(far, &BEFORE).await;
            let stream = pki.host(&[HOST]).acceptor().accept(stream).await.unwrap();
            let (mut stream, _) = scripted_on(stream, &[AFTER[0], AFTER[1], ("line", "")]).await;
            if closes_well {
                stream.get_mut().1.send_close_notify();
                let _ = stream.flush().await;
            }
        };
        let client = async {
            let mut session = Session::open(near, opening(&tls, &Demand::Verified, false)).await.unwrap();
            let outcome = session.send(request(&["a@b.example"], message.len()), message.as_bytes()).await;
            (outcome, session.is_open())
        };
        let ((outcome, is_open), ()) = tokio::join!(client, server);
        assert!(matches!(&outcome.fates[..], [Fate::Deferred(_)]), "{outcome:?}");
        assert!(!outcome.dot_sent && !is_open);
    }
}
