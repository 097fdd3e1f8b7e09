//! Certificates that somebody else renews, as certbot does.

use crate::config::Tls;
use crate::error::{Exit, Failure};
use crate::net::tls::pair::Pair;
use std::path::PathBuf;

/// The files, chain and key together.
pub struct Files(Vec<(PathBuf, PathBuf)>);

impl Files {
    /// Those of `tls.cert` and `tls.key`.
    pub fn of(tls: &Tls) -> Result<Files, Failure> {
        if tls.cert.len() != tls.key.len() {
            let (certs, keys) = (tls.cert.len(), tls.key.len());
            let text = format!(
                "tls.cert has {certs} files and tls.key {keys}; each chain needs the key that belongs to it"
            );
            return Err(Failure::new(Exit::Config, text));
        }
        Ok(Files(tls.cert.iter().cloned().zip(tls.key.iter().cloned()).collect()))
    }

    /// What they hold; `own` stands in for a pair that cannot be used. Blocks.
    pub fn read_or(&self, own: Pair) -> Vec<Pair> {
        let read = |(cert, key): &(PathBuf, PathBuf)| -> Option<Pair> {
            let (chain, key) = (std::fs::read(cert).ok()?, std::fs::read(key).ok()?);
            Pair::from_pem(&chain, &key).ok()
        };
        self.0.iter().map(|files| read(files).unwrap_or_else(|| own.clone())).collect()
    }
}
