//! Our own key, and the certificate that nobody but ourselves vouches for: both made at the first start, and kept.

use super::durable;
use crate::error::{Exit, Failure, plainly};
use crate::net::tls::pair::Pair;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd};
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The key's file in `state_dir/tls`.
const KEY: &str = "key.pem";
/// The certificate's.
const SELF_SIGNED: &str = "self-signed.pem";

/// Our key, PEM (PKCS#8), ECDSA P-256. It is made in `directory` where it is missing, and never replaced here: TLSA records
/// may name it.
pub fn key(directory: &Path) -> Result<String, Failure> {
    let path = directory.join(KEY);
    if let Some(pem) = kept_key(directory)? {
        return Ok(pem);
    }
    let pem = generate()?;
    durable::write(&path, pem.as_bytes()).map_err(|error| cannot(&path, error))?;
    if directory.join(SELF_SIGNED).exists() {
        let path = path.display();
        let remedy = "where a TLSA record names the old key, publish the new one (`pillarbox cert status` shows it), or put the old \
                      file back";
        tracing::warn!(%path, remedy, "our key was gone, and another is made");
    }
    Ok(pem)
}

/// Our key, if it was made already.
pub fn kept_key(directory: &Path) -> Result<Option<String>, Failure> {
    let path = directory.join(KEY);
    match fs::read_to_string(&path) {
        Ok(pem) => Ok(Some(pem)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot(&path, error)),
    }
}

/// A new key, PEM.
fn generate() -> Result<String, Failure> {
    let made = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256);
    Ok(made.map_err(|error| Failure::new(Exit::OsErr, format!("making a key: {error}")))?.serialize_pem())
}

/// The self-signed certificate for `name` and `key`; made anew where the one that is kept is for others, or cannot be read.
pub fn self_signed(directory: &Path, name: &str, key: &str) -> Result<Pair, Failure> {
    let path = directory.join(SELF_SIGNED);
    match fs::read(&path) {
        Ok(kept) => match Pair::from_pem(&kept, key.as_bytes()) {
            Ok(pair) if pair.is_for(name) => return Ok(pair),
            _ => {}
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(cannot(&path, error)),
    }
    let made = certificate(name, key).map_err(|error| cannot(&directory.join(KEY), error))?;
    durable::write(&path, made.as_bytes()).map_err(|error| cannot(&path, error))?;
    Pair::from_pem(made.as_bytes(), key.as_bytes()).map_err(|error| cannot(&path, error))
}

/// What is there, for whoever only looks: nothing is made. An error is a sentence with file, cause and remedy.
pub fn look(directory: &Path) -> Result<Pair, String> {
    let read = |path: &Path| {
        fs::read(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                format!("{} is not there; the server makes it when it starts", path.display())
            }
            _ => format!("{}: {}", path.display(), plainly(&error)),
        })
    };
    let path = path_in(directory);
    let (chain, key) = (read(&path)?, read(&directory.join(KEY))?);
    let again = "a start of the server makes it anew";
    Pair::from_pem(&chain, &key).map_err(|error| format!("{}: {error}; {again}", path.display()))
}

/// Where our own certificate is.
pub fn path_in(directory: &Path) -> PathBuf {
    directory.join(SELF_SIGNED)
}

/// For the rest of the century: whatever our clock says now, and since nobody who looks at dates believes it anyway.
fn certificate(name: &str, key: &str) -> Result<String, rcgen::Error> {
    let key = KeyPair::from_pem(key)?;
    let mut parameters = CertificateParams::new([name.to_owned()])?;
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    parameters.not_before = date_time_ymd(2020, 1, 1);
    parameters.not_after = date_time_ymd(2099, 12, 31);
    Ok(parameters.self_signed(&key)?.pem())
}

fn cannot(path: &Path, error: impl fmt::Display) -> Failure {
    Failure::new(Exit::OsErr, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn key_and_certificate_are_made_once_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let first = key(directory.path()).unwrap();
        let shown = self_signed(directory.path(), "mx.here.example", &first).unwrap();
        assert_eq!(key(directory.path()).unwrap(), first);
        let again = self_signed(directory.path(), "mx.here.example", &first).unwrap();
        assert_eq!(again.facts, shown.facts);
        assert!(shown.facts.self_signed && shown.is_for("MX.here.example") && !shown.is_for("here.example"));
        for file in [KEY, SELF_SIGNED] {
            let mode = fs::metadata(directory.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }

    #[test]
    fn another_name_gets_another_certificate_of_the_same_key() {
        let directory = tempfile::tempdir().unwrap();
        let key = key(directory.path()).unwrap();
        let old = self_signed(directory.path(), "old.example", &key).unwrap();
        let new = self_signed(directory.path(), "new.example", &key).unwrap();
        assert!(new.is_for("new.example"));
        assert_eq!(new.facts.key, old.facts.key);
        fs::write(directory.path().join(SELF_SIGNED), "torn").unwrap();
        assert!(self_signed(directory.path(), "new.example", &key).unwrap().is_for("new.example"));
    }
}
