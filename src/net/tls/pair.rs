//! What a server shows: a chain of certificates and the key of the first.

use super::TlsError;
use super::words::printable;
use ::aws_lc_rs::digest::{SHA256, digest};
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// A chain and its key, which belong together.
#[derive(Clone, Debug)]
pub struct Pair {
    pub(super) shown: Arc<CertifiedKey>,
    /// What the first certificate says.
    pub facts: Facts,
}

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The DNS names that it is for, in lower case; `*.example.org` covers one label.
    pub names: Vec<String>,
    /// When it begins to be valid, in Unix seconds.
    pub not_before: i64,
    /// The last second in which it is valid.
    pub not_after: i64,
    /// Who vouches, in printable characters.
    pub issuer: String,
    /// Whether that is itself.
    pub self_signed: bool,
    /// SHA-256 of its SubjectPublicKeyInfo: the data of a TLSA record `3 1 1` (RFC 6698 section 2.1).
    pub key: [u8; 32],
    /// SHA-256 of all of it.
    pub fingerprint: [u8; 32],
}

impl Pair {
    /// Reads PEM: the chain, one's own certificate first, and the key, without a passphrase. An error says what is wrong with
    /// which of the two, not where they are from.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Pair, TlsError> {
        let fault = |why: &str| TlsError(why.to_owned());
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|error| TlsError(printable(&format!("the certificates are no PEM: {error}"))))?;
        let own = chain.first().ok_or_else(|| fault("no certificate (BEGIN CERTIFICATE) is there"))?;
        let facts = Facts::of(own)?;
        // Most clients end a handshake at the first certificate that they cannot read, whichever it is.
        for (nth, other) in chain.iter().enumerate().skip(1) {
            match parse_x509_certificate(other) {
                Ok(([], _)) => {}
                _ => return Err(TlsError(format!("certificate {} of the chain is malformed", nth + 1))),
            }
        }
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| fault("the key is no PEM private key without a passphrase"))?;
        let shown = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
        let shown = shown.map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                fault("the key is not that of the first certificate (the chain begins with one's own)")
            }
            other => TlsError(printable(&format!("the pair cannot be used: {other}"))),
        })?;
        Ok(Pair { shown: Arc::new(shown), facts })
    }

    /// The first certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        self.shown.cert.first().map_or(&[], |certificate| certificate.as_ref())
    }

    /// Whether it is for this name (RFC 9525 section 6.3: a `*` covers the leftmost label, and all of it).
    pub fn is_for(&self, name: &str) -> bool {
        self.facts.is_for(name)
    }
}

impl Facts {
    /// Reads a certificate in DER.
    pub fn of(certificate: &[u8]) -> Result<Facts, TlsError> {
        let malformed = |_| TlsError("the certificate is malformed".into());
        let (rest, parsed) = parse_x509_certificate(certificate).map_err(malformed)?;
        if !rest.is_empty() {
            return Err(TlsError("the certificate is malformed: more follows it".into()));
        }
        let mut names = Vec::new();
        if let Ok(Some(alternatives)) = parsed.subject_alternative_name() {
            for name in &alternatives.value.general_names {
                if let GeneralName::DNSName(name) = name {
                    names.push(name.to_ascii_lowercase());
                }
            }
        }
        let hash = |octets: &[u8]| {
            let mut out = [0; 32];
            out.copy_from_slice(digest(&SHA256, octets).as_ref());
            out
        };
        Ok(Facts {
            names,
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            issuer: printable(&parsed.issuer().to_string()),
            self_signed: parsed.issuer() == parsed.subject(),
            key: hash(parsed.public_key().raw),
            fingerprint: hash(certificate),
        })
    }

    /// As [`Pair::is_for`].
    pub fn is_for(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let parent = name.split_once('.').map(|(_, parent)| parent);
        self.names.iter().any(|own| match own.strip_prefix("*.") {
            Some(covered) => parent == Some(covered),
            None => *own == name,
        })
    }
}
