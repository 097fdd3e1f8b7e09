//! Private keys at home: made, loaded, and turned into the TXT record that DNS shows.

use crate::mail::address::Domain;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
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

impl Algorithm {
    /// The value of `a=` in a signature (RFC 6376 section 3.3, RFC 8463 section 3).
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Rsa2048 => "rsa-sha256",
            Algorithm::Ed25519 => "ed25519-sha256",
        }
    }
}

/// A private key and whose it is.
pub struct PrivateKey {
    /// The selector.
    pub selector: String,
    /// The signing domain.
    pub domain: Domain,
    /// The algorithm (an RSA key may be larger than 2048 bits).
    pub algorithm: Algorithm,
    /// Set when others than the owner may read or write the file it came from: a sentence to show.
    pub mode_warning: Option<String>,
    material: Material,
}

enum Material {
    Rsa(rsa::KeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A new key as PEM (PKCS#8).
pub fn generate_pem(algorithm: Algorithm) -> Result<String, KeyError> {
    let failed = |_| KeyError("the system gave no random numbers for a key; try again".into());
    let der = match algorithm {
        Algorithm::Rsa2048 => {
            let pair = rsa::KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
            pair.as_der().map_err(failed)?.as_ref().to_vec()
        }
        // PKCS#8 version 1, as openssl writes and reads it; version 2 adds the public half, which openssl 1 rejects.
        Algorithm::Ed25519 => {
            Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).map_err(failed)?.as_ref().to_vec()
        }
    };
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|&octet| char::from(octet)));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    Ok(pem)
}

impl PrivateKey {
    /// Loads a PEM file, PKCS#8 or PKCS#1 (as openssl writes them).
    pub fn load(path: &Path, selector: &str, domain: &Domain) -> Result<PrivateKey, KeyError> {
        let located = |what: &dyn fmt::Display| KeyError(format!("{}: {what}", path.display()));
        let pem = std::fs::read(path).map_err(|error| located(&error))?;
        let mode = std::fs::metadata(path).map_err(|error| located(&error))?.permissions().mode();
        let mut key = PrivateKey::from_pem(&pem, selector, domain).map_err(|error| located(&error))?;
        if mode & 0o077 != 0 {
            let path = path.display();
            key.mode_warning = Some(format!(
                "{path}: others may read this private key (mode {:03o}); run: chmod 600 {path}",
                mode & 0o777
            ));
        }
        Ok(key)
    }

    /// Reads a key from the text of a PEM file.
    pub fn from_pem(pem: &[u8], selector: &str, domain: &Domain) -> Result<PrivateKey, KeyError> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
            KeyError("no PEM private key without a passphrase (make one with: pillarbox key new)".into())
        })?;
        let material = read_material(der.secret_der())?;
        let algorithm = match material {
            Material::Rsa(_) => Algorithm::Rsa2048,
            Material::Ed25519(_) => Algorithm::Ed25519,
        };
        Ok(PrivateKey {
            selector: selector.to_owned(),
            domain: domain.clone(),
            algorithm,
            mode_warning: None,
            material,
        })
    }

    /// The TXT record's text: `v=DKIM1; k=rsa; p=…`.
    pub fn txt_record(&self) -> Result<String, KeyError> {
        Ok(match &self.material {
            Material::Rsa(pair) => {
                let public = pair.public_key().as_der();
                let public =
                    public.map_err(|_| KeyError("the key's public half cannot be written".into()))?;
                format!("v=DKIM1; k=rsa; p={}", STANDARD.encode(public.as_ref()))
            }
            // The 32 raw octets (RFC 8463 section 4.2).
            Material::Ed25519(pair) => {
                format!("v=DKIM1; k=ed25519; p={}", STANDARD.encode(pair.public_key().as_ref()))
            }
        })
    }

    /// Where the record belongs: `selector._domainkey.domain`.
    pub fn txt_name(&self) -> String {
        format!("{}._domainkey.{}", self.selector, self.domain)
    }

    /// Signs `input`, the canonical signed input of RFC 6376 section 3.7.
    pub(super) fn sign(&self, input: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |_| KeyError(format!("{}: signing failed; try again", self.txt_name()));
        match &self.material {
            Material::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            // PureEdDSA over the SHA-256 of the input (RFC 8463 section 3).
            Material::Ed25519(pair) => {
                let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, input);
                Ok(pair.try_sign(digest.as_ref()).map_err(failed)?.as_ref().to_vec())
            }
        }
    }
}

/// Names the key, never its secret.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({}, {})", self.txt_name(), self.algorithm.name())
    }
}

fn read_material(der: &[u8]) -> Result<Material, KeyError> {
    if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
        return Ok(Material::Ed25519(pair));
    }
    // Both refuse fewer than 2048 bits.
    let pair = rsa::KeyPair::from_pkcs8(der).or_else(|_| rsa::KeyPair::from_der(der));
    pair.map(Material::Rsa).map_err(|error| {
        KeyError(format!(
            "neither an RSA key of 2048 to 8192 bits nor an Ed25519 key ({error}); make one with: pillarbox key new"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> Domain {
        Domain::parse("example.org").unwrap()
    }

    #[test]
    fn a_new_key_loads_again_and_shows_its_public_half() {
        for (algorithm, start) in
            [(Algorithm::Rsa2048, "v=DKIM1; k=rsa; p=MIIBI"), (Algorithm::Ed25519, "v=DKIM1; k=ed25519; p=")]
        {
            let pem = generate_pem(algorithm).unwrap();
            let key = PrivateKey::from_pem(pem.as_bytes(), "me", &domain()).unwrap();
            assert_eq!(key.algorithm, algorithm);
            assert!(key.txt_record().unwrap().starts_with(start));
            assert_eq!(key.txt_name(), "me._domainkey.example.org");
        }
    }

    #[test]
    fn a_key_that_others_may_read_is_loaded_with_a_warning() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), generate_pem(Algorithm::Ed25519).unwrap()).unwrap();
        assert!(PrivateKey::load(file.path(), "me", &domain()).unwrap().mode_warning.is_none());
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o640)).unwrap();
        let warning = PrivateKey::load(file.path(), "me", &domain()).unwrap().mode_warning.unwrap();
        assert!(warning.contains("mode 640") && warning.contains("chmod 600"), "{warning}");
    }

    #[test]
    fn what_is_no_key_is_refused_with_file_and_remedy() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
            .unwrap();
        let text = PrivateKey::load(file.path(), "me", &domain()).unwrap_err().0;
        assert!(text.contains(&*file.path().to_string_lossy()) && text.contains("key new"), "{text}");
        let text = PrivateKey::load(Path::new("/nonexistent/key.pem"), "me", &domain()).unwrap_err().0;
        assert!(text.starts_with("/nonexistent/key.pem: "), "{text}");
    }
}
