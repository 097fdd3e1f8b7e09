//! Handshakes with servers of rustls in the same process, and with `openssl s_server`.

mod dane;
mod openssl;
pub(in crate::net) mod pki;

use super::{Identity, Secured, TlsClient, TlsError, TlsStream};
use crate::policy::tls::Demand;
use pki::{Pki, Shown};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

const PATIENCE: Duration = Duration::from_secs(60);
const HOST: &str = "mx.example.org";

/// A handshake with a server that shows `shown`, by a client whose one authority is the root of `pki`.
async fn shake(
    pki: &Pki,
    shown: &Shown,
    names: &[&str],
    demand: &Demand,
) -> Result<(TlsStream<DuplexStream>, Secured), TlsError> {
    let (near, far) = duplex(65536);
    tokio::spawn(shown.clone().serve(far));
    pki.client().handshake(near, names, demand, PATIENCE).await
}

/// Who the other side is found to be, or the sentence that says why not.
async fn identity(pki: &Pki, shown: &Shown, demand: &Demand) -> Result<Identity, String> {
    let outcome = shake(pki, shown, &[HOST], demand).await;
    outcome.map(|(_, secured)| secured.identity).map_err(|TlsError(why)| why)
}

fn unverified(why: &str) -> Result<Identity, String> {
    Ok(Identity::Unverified(why.into()))
}

#[tokio::test]
async fn a_known_authority_vouches_whatever_kind_of_key_there_is() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519, &PKCS_RSA_SHA256] {
        let pki = Pki::new(algorithm);
        let shown = pki.host(&[HOST]);
        for demand in [Demand::Opportunistic, Demand::Encrypted, Demand::Verified] {
            assert_eq!(identity(&pki, &shown, &demand).await, Ok(Identity::Verified), "{algorithm:?}");
        }
    }
}

#[tokio::test]
async fn what_was_agreed_on_is_told_and_octets_go_both_ways() {
    let pki = Pki::new(&PKCS_ECDSA_P256_SHA256);
    let (mut stream, secured) = shake(&pki, &pki.host(&[HOST]), &[HOST], &Demand::Verified).await.unwrap();
    assert_eq!((secured.version.as_str(), secured.cipher.as_str()), ("TLSv1.3", "TLS13_AES_256_GCM_SHA384"));
    stream.write_all(b"ping\n").await.unwrap();
    stream.flush().await.unwrap();
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"ping\n");
}

#[tokio::test]
async fn a_stream_ends_where_the_other_side_says_so_and_breaks_where_it_is_cut() {
    let pki = Pki::new(&PKCS_ECDSA_P256_SHA256);
    for (word, end) in [(&b"close"[..], Ok(0)), (&b"break"[..], Err(ErrorKind::UnexpectedEof))] {
        let (mut stream, _) = shake(&pki, &pki.host(&[HOST]), &[HOST], &Demand::Verified).await.unwrap();
        stream.write_all(word).await.unwrap();
        stream.flush().await.unwrap();
        let mut buffer = [0; 16];
        assert_eq!(stream.read(&mut buffer).await.map_err(|error| error.kind()), end);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said_and_only_the_strict_mind() {
    let pki = Pki::new(&PKCS_ECDSA_P256_SHA256);
    let strangers = Pki::new(&PKCS_ECDSA_P256_SHA256);
    let many = ["a.example", "b.example", "c.example", "d.example", "e.example"];
    let rows = [
        (strangers.host(&[HOST]), "its certificate is signed by an unknown authority"),
        (pki.self_signed(&[HOST]), "its certificate is signed by an unknown authority"),
        (pki.expired(&[HOST]), "its certificate expired on 2021-01-01"),
        (pki.future(&[HOST]), "its certificate is not valid yet: it begins on 2100-01-01"),
        (pki.host(&["mx.other.example"]), "its certificate is for mx.other.example, not for mx.example.org"),
        (
            pki.host(&many),
            "its certificate is for a.example, b.example, c.example and 2 others, not for mx.example.org",
        ),
        (pki.host(&[]), "its certificate is for no name, not for mx.example.org"),
        (pki.for_clients(&[HOST]), "its certificate is not meant for servers"),
        (pki.host(&[HOST]).alone(), "its certificate is signed by an unknown authority"),
    ];
    for (shown, why) in rows {
        assert_eq!(identity(&pki, &shown, &Demand::Verified).await, Err(why.into()));
        assert_eq!(identity(&pki, &shown, &Demand::Encrypted).await, unverified(why));
        assert_eq!(identity(&pki, &shown, &Demand::Opportunistic).await, unverified(why));
    }
}

#[tokio::test]
async fn the_name_of_an_authority_s_certificate_may_have_a_wildcard_or_be_an_address() {
    let pki = Pki::new(&PKCS_ECDSA_P256_SHA256);
    let shown = pki.host(&["*.example.org", "192.0.2.1"]);
    for (name, right) in [(HOST, true), ("192.0.2.1", true), ("example.org", false), ("192.0.2.2", false)] {
        let outcome = shake(&pki, &shown, &[name], &Demand::Verified).await;
        assert_eq!(outcome.is_ok(), right, "{name}");
    }
    // Only the first name is the host's.
    assert!(shake(&pki, &shown, &["other.example", HOST], &Demand::Verified).await.is_err());
}

#[tokio::test]
async fn a_certificate_shown_without_its_key_is_refused_by_all() {
    let pki = Pki::new(&PKCS_ECDSA_P256_SHA256);
    for shown in [
        pki.host(&[HOST]).with_key_of(&pki.host(&[HOST])).tls13(),
        pki.host(&[HOST]).with_key_of(&pki.host(&[HOST])).tls12(),
    ] {
        let record = pki::record(3, 1, 1, shown.certificate());
        for demand in [Demand::Opportunistic, Demand::Encrypted, Demand::Verified, Demand::Dane(vec![record])]
        {
            let why = "it did not prove that it owns the key of its certificate";
            assert_eq!(identity(&pki, &shown, &demand).await, Err(why.into()), "{demand:?}");
        }
    }
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_told_from_one_that_is_gone_or_slow() {
    let client = Pki::new(&PKCS_ECDSA_P256_SHA256).client();
    let rows: [(&[u8], &str); 3] = [
        (b"", "it closed the connection in the handshake"),
        (b"554 go away\r\n", "what it sent is not TLS (InvalidContentType)"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "it speaks neither TLS 1.2 nor TLS 1.3"),
    ];
    for (answer, why) in rows {
        let (near, mut far) = duplex(65536);
        far.write_all(answer).await.unwrap();
        far.shutdown().await.unwrap();
        let outcome = client.handshake(near, &[HOST], &Demand::Opportunistic, PATIENCE).await;
        assert_eq!(outcome.err(), Some(TlsError(why.into())));
    }
    let (near, _far) = duplex(65536);
    let outcome = client.handshake(near, &[HOST], &Demand::Opportunistic, Duration::ZERO).await;
    let why = "it did not finish the handshake within 0 seconds";
    assert_eq!(outcome.err(), Some(TlsError(why.into())));
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_an_error() {
    let client = Pki::new(&PKCS_ECDSA_P256_SHA256).client();
    let rows: [(&[&str], Demand, &str); 3] = [
        (&[HOST], Demand::Clear, "no TLS is wanted"),
        (&[], Demand::Verified, "TLS needs the name of the host"),
        (&["a b\r\n"], Demand::Verified, "a b?? is not a name that TLS can ask for"),
    ];
    for (names, demand, why) in rows {
        let outcome = client.handshake(duplex(1).0, names, &demand, PATIENCE).await;
        assert_eq!(outcome.err(), Some(TlsError(why.into())));
    }
}

#[test]
fn the_file_of_authorities_is_read_or_the_error_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("roots.pem");
    let error = || TlsClient::new(Some(&path)).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error().starts_with(&format!("{}: No such file", path.display())), "{}", error());

    let pem = Pki::new(&PKCS_ECDSA_P256_SHA256).root_pem();
    std::fs::write(&path, &pem).unwrap();
    assert_eq!(error(), "");

    let rows = [
        (String::new(), "no certificate; it must hold"),
        ("not PEM at all".into(), "no certificate; it must hold"),
        (format!("{pem}{}", pem.replace('M', "!")), "certificate 2: "),
        (pem.replace("-----END CERTIFICATE-----", ""), "certificate 1: "),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(),
            "certificate 1 is malformed",
        ),
    ];
    for (text, why) in rows {
        std::fs::write(&path, text).unwrap();
        assert!(error().starts_with(&format!("{}: {why}", path.display())), "{}", error());
    }
}

#[tokio::test]
async fn no_host_sends_us_through_a_maze_of_authorities() {
    let pki = Pki::new(&PKCS_ECDSA_P256_SHA256);
    // Each of them could have signed each other one; webpki would follow 200,000 ways.
    let shown = pki.maze(100, &[HOST]);
    let why = "its certificate is signed by an unknown authority";
    assert_eq!(identity(&pki, &shown, &Demand::Opportunistic).await, unverified(why));
    let record = pki::record(2, 1, 1, pki.maze(1, &[]).certificate());
    identity(&pki, &shown, &Demand::Dane(vec![record])).await.unwrap_err();
    // What is sent needlessly does no harm, if it is not much.
    let needless = (0..5).fold(pki.host(&[HOST]), |shown, _| shown.and(pki.root()));
    assert_eq!(identity(&pki, &needless, &Demand::Verified).await, Ok(Identity::Verified));
}
