//! Faults of TLS in plain sentences. What the other side put into its certificate is quoted with care: bounded, and
//! without anything that a log or a bounce would trip over.

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};
use rustls_pki_types::UnixTime;
use std::io;

/// A certificate may have hundreds of names.
const MAX_NAMES: usize = 3;

/// No sentence is longer.
const MAX_SENTENCE: usize = 300;

/// Why there was no handshake.
pub(super) fn handshake_failure(error: &io::Error) -> String {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        return printable(&tls_fault(error));
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => {
            "it closed the connection in the handshake".into()
        }
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
            "it reset the connection in the handshake".into()
        }
        _ => printable(&format!("the connection broke in the handshake: {error}")),
    }
}

/// Why a certificate is not right.
pub(super) fn certificate_flaw(error: &Error) -> String {
    use CertificateError as Flaw;
    let Error::InvalidCertificate(flaw) = error else { return printable(&tls_fault(error)) };
    printable(&match flaw {
        Flaw::ExpiredContext { not_after, .. } => format!("its certificate expired{}", on(*not_after)),
        Flaw::Expired => "its certificate expired before it began to be valid".into(),
        Flaw::NotValidYetContext { not_before, .. } => {
            format!("its certificate is not valid yet: it begins{}", on(*not_before))
        }
        Flaw::UnknownIssuer => "its certificate is signed by an unknown authority".into(),
        Flaw::NotValidForNameContext { expected, presented } => {
            format!("its certificate is for {}, not for {}", names(presented), expected.to_str())
        }
        Flaw::BadSignature => "a signature in its certificates is wrong".into(),
        Flaw::UnsupportedSignatureAlgorithmContext { .. }
        | Flaw::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "its certificate is signed in a way that is too weak or unknown".into()
        }
        Flaw::InvalidPurpose | Flaw::InvalidPurposeContext { .. } => {
            "its certificate is not meant for servers".into()
        }
        Flaw::BadEncoding => "its certificate is malformed".into(),
        // The library names these only so.
        Flaw::Other(other) => match format!("{:?}", other.0).as_str() {
            "CaUsedAsEndEntity" => "its certificate is an authority's own, not a host's".into(),
            "UnsupportedCertVersion" => "its certificate is of version 1, which has no names".into(),
            other => format!("its certificate will not do: {other}"),
        },
        other => format!("its certificate will not do: {other:?}"),
    })
}

/// The handshake was not signed by the certificate's key.
pub(super) fn bad_signature() -> Error {
    Error::InvalidCertificate(CertificateError::BadSignature)
}

/// Printable characters only, and not too many of them.
pub(super) fn printable(text: &str) -> String {
    let safe = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    text.chars().map(safe).take(MAX_SENTENCE).collect()
}

fn tls_fault(error: &Error) -> String {
    match error {
        // What is wrong with a certificate was said by the judge; this is what is wrong with the proof of its key.
        Error::InvalidCertificate(_) => "it did not prove that it owns the key of its certificate".into(),
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired
            // TLS 1.2 was the first to have it, and whoever speaks that sends it.
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        )
        | Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            "it speaks neither TLS 1.2 nor TLS 1.3".into()
        }
        Error::AlertReceived(AlertDescription::HandshakeFailure) => {
            "it ended the handshake: no cipher or key exchange in common, or it will not say why".into()
        }
        Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => {
            "it offers no cipher that is taken here".into()
        }
        Error::AlertReceived(alert) => format!("it ended the handshake: {alert:?}"),
        Error::InvalidMessage(message) => format!("what it sent is not TLS ({message:?})"),
        Error::NoCertificatesPresented => "it showed no certificate".into(),
        other => format!("the handshake failed: {other}"),
    }
}

fn on(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).ok();
    let day = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    day.map(|day| format!(" on {}", day.strftime("%Y-%m-%d"))).unwrap_or_default()
}

/// `DnsName("mx.example.org")` and so on is how they come.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| name.split('"').nth(1).unwrap_or(name).to_owned();
    let shown: Vec<String> = presented.iter().take(MAX_NAMES).map(bare).collect();
    match presented.len().checked_sub(MAX_NAMES + 1) {
        _ if shown.is_empty() => "no name".into(),
        None => shown.join(", "),
        Some(more) => format!("{} and {} others", shown.join(", "), more + 1),
    }
}
