//! Whether the other side owns the key of the certificate that it shows.

use super::words;
use crate::policy::x509::{Certificate, PublicKey};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::{CertificateError, DigitallySignedStruct, Error};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, alg_id};
use std::ops::RangeInclusive;

/// RSA keys whose signatures the library checks.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

/// Why signatures by the certificate's key cannot be checked, if so. Without that nobody knows whether the other side is
/// the certificate's owner.
pub(super) fn uncheckable(
    certificate: &CertificateDer<'_>,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Option<String> {
    let Some(Certificate { key, .. }) = Certificate::parse(certificate) else {
        return Some("its certificate cannot be read".into());
    };
    if !algorithms.all.iter().any(|known| known.public_key_alg_id().as_ref() == key.algorithm) {
        return Some("its certificate has a key of a kind that we cannot check".into());
    }
    let bits = key.modulus_bits().unwrap_or(0);
    let rsa = key.algorithm == alg_id::RSA_ENCRYPTION.as_ref();
    (rsa && !RSA_BITS.contains(&bits))
        .then(|| format!("its certificate has an RSA key of {bits} bits; 2048 to 8192 can be checked"))
}

/// Checks a handshake's signature by the key alone, so that a certificate that webpki does not read is no hindrance.
pub(super) fn check(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
    tls13: bool,
) -> Result<HandshakeSignatureValid, Error> {
    let unreadable = || Error::InvalidCertificate(CertificateError::BadEncoding);
    let key = Certificate::parse(certificate).ok_or_else(unreadable)?.key;
    if tls13 {
        let whole = SubjectPublicKeyInfoDer::from(key.whole);
        return verify_tls13_signature_with_raw_key(message, &whole, signed, algorithms);
    }
    check_tls12(message, key, signed, algorithms)
}

/// TLS 1.2 does not tie a scheme to a curve, so the key's own kind chooses among the scheme's algorithms.
fn check_tls12(
    message: &[u8],
    key: PublicKey<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let known = algorithms.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
    let mut fitting = known.into_iter().flat_map(|(_, candidates)| candidates.iter());
    fitting
        .find(|candidate| candidate.public_key_alg_id().as_ref() == key.algorithm)
        .and_then(|algorithm| algorithm.verify_signature(key.bits, message, signed.signature()).ok())
        .map(|()| HandshakeSignatureValid::assertion())
        .ok_or_else(words::bad_signature)
}
