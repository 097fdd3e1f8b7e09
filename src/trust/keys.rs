//! Private keys at home, public keys in DNS.

use crate::mail::address::Domain;
use std::path::Path;

/// Why a key cannot be used; the text names the file and the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(pub String);

/// The algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA with 2048 bits, which everybody verifies.
    Rsa2048,
    /// Ed25519 (RFC 8463), beside it.
    Ed25519,
}

/// A private key and whose it is.
pub struct PrivateKey {
    /// The selector.
    pub selector: String,
    /// The signing domain.
    pub domain: Domain,
    /// The algorithm (an RSA key may be larger than 2048 bits).
    pub algorithm: Algorithm,
}

/// A new key as PEM (PKCS#8).
pub fn generate_pem(algorithm: Algorithm) -> Result<String, KeyError> {
    let _ = algorithm;
    Err(KeyError("not yet".into()))
}

impl PrivateKey {
    /// Loads a PEM file, PKCS#8 or PKCS#1 (as openssl writes them).
    pub fn load(path: &Path, selector: &str, domain: &Domain) -> Result<PrivateKey, KeyError> {
        let _ = (path, selector, domain);
        Err(KeyError("not yet".into()))
    }

    /// The TXT record's text: `v=DKIM1; k=rsa; p=…`.
    pub fn txt_record(&self) -> Result<String, KeyError> {
        Err(KeyError("not yet".into()))
    }
}
