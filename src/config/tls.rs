//! `[tls]`: what the doors show.

use super::one_or_many;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;

/// `[tls]`; empty: a certificate that nobody vouches for, made at the first start.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Certificate chains, PEM, one's own certificate first (certbot's `fullchain.pem`). The first file is shown to whoever
    /// asks for no name or for one that no file has.
    #[serde(deserialize_with = "one_or_many")]
    pub cert: Vec<PathBuf>,
    /// The private keys, PEM, one for each file of `cert`, in the same order (`privkey.pem`).
    #[serde(deserialize_with = "one_or_many")]
    pub key: Vec<PathBuf>,
    /// `[tls.acme]`: certificates are fetched, and renewed, from an authority.
    pub acme: Option<Acme>,
}

/// `[tls.acme]` (RFC 8555). To write the table is to agree to the authority's terms.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Acme {
    /// The authority: `letsencrypt`, `letsencrypt-staging`, or the URL of a directory.
    pub directory: String,
    /// Addresses that the authority may write to.
    #[serde(deserialize_with = "one_or_many")]
    pub contact: Vec<String>,
    /// The names that certificates are wanted for, each its own; empty: `hostname`. The first is shown to whoever asks for no
    /// name.
    #[serde(deserialize_with = "one_or_many")]
    pub names: Vec<String>,
    /// Certificates that vouch for the authority's own server, PEM, in place of the system's.
    pub roots: Option<PathBuf>,
    /// Where the authority's questions are answered while an order runs (HTTP-01, RFC 8555 section 8.3).
    pub listen: Vec<SocketAddr>,
}

impl Default for Acme {
    fn default() -> Acme {
        Acme {
            directory: "letsencrypt".into(),
            contact: Vec::new(),
            names: Vec::new(),
            roots: None,
            listen: vec![SocketAddr::from(([0, 0, 0, 0], 80)), SocketAddr::from(([0u16; 8], 80))],
        }
    }
}
