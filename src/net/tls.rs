//! TLS, as a client and as a server: the one wrapper around rustls, and what a certificate must be.

mod dane;
mod judge;
pub mod pair;
mod roots;
pub mod server;
mod signature;
#[cfg(test)]
pub(super) mod tests;
mod words;

use crate::policy::tls::Demand;
use judge::Judge;
use roots::Authorities;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, ClientConnection, CommonState};
use rustls_pki_types::{CertificateDer, ServerName};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Why TLS did not come about; a sentence of printable characters about the other side ("its certificate …").
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(pub String);

/// Who the other side was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// One of the domain's TLSA records matched; which (`3 1 1`).
    Dane(String),
    /// A known authority vouches for the host's name.
    Verified,
    /// Nobody vouches, and why (in words); the connection is private against those who only listen.
    Unverified(String),
}

/// What was agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secured {
    /// `TLSv1.3`.
    pub version: String,
    /// `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// Who is there.
    pub identity: Identity,
}

/// Makes connections private: TLS 1.2 and 1.3, without a certificate of our own. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TlsClient {
    base: Arc<ClientConfig>,
    authorities: Authorities,
}

/// A stream under TLS. Reading it ends where the other side says so (close_notify); one that is cut off is
/// `UnexpectedEof`.
pub type TlsStream<S> = tokio_rustls::client::TlsStream<S>;

/// What a server shows.
#[derive(Clone, Copy)]
struct Chain<'a> {
    /// Its own certificate.
    own: &'a CertificateDer<'a>,
    /// What may lead from there to an authority.
    others: &'a [CertificateDer<'a>],
}

impl TlsClient {
    /// With the authorities of a PEM file, else the system's, else those that come with the program.
    pub fn new(roots: Option<&Path>) -> Result<TlsClient, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let authorities = Authorities::load(roots, &provider)?;
        Ok(TlsClient { base: Arc::new(config(provider, &authorities)?), authorities })
    }

    /// Performs the handshake, within `patience`. `names` are A-labels or addresses: the first one goes into SNI and is
    /// what a certificate must name; the others are names that a certificate under DANE-TA may have instead (RFC 7672
    /// section 3.2.2). `demand` says what the certificate must be; `Clear` is an error. Under `Opportunistic` and
    /// `Encrypted` any certificate will do, and what it is worth is said.
    pub async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        names: &[&str],
        demand: &Demand,
        patience: Duration,
    ) -> Result<(TlsStream<S>, Secured), TlsError> {
        let names = names.iter().map(|name| server_name(name)).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = names.first().cloned() else {
            return Err(TlsError("TLS needs the name of the host".into()));
        };
        let judge = Arc::new(Judge::new(demand, names, self.authorities.clone())?);
        let mut config = ClientConfig::clone(&self.base);
        config.dangerous().set_certificate_verifier(Arc::clone(&judge) as _);
        let connecting = TlsConnector::from(Arc::new(config)).connect(first, stream);
        match timeout(patience, connecting).await {
            Ok(Ok(stream)) => {
                let secured = secured(stream.get_ref().1, &judge)?;
                Ok((stream, secured))
            }
            Ok(Err(error)) => {
                Err(TlsError(judge.objection().unwrap_or_else(|| words::handshake_failure(&error))))
            }
            Err(_) => {
                let seconds = patience.as_secs();
                Err(TlsError(format!("it did not finish the handshake within {seconds} seconds")))
            }
        }
    }
}

/// What all connections have in common; each gets a verifier of its own. Sessions are not resumed: a resumed one shows no
/// certificate, so it would inherit what an earlier connection, under another demand, was content with.
fn config(provider: Arc<CryptoProvider>, authorities: &Authorities) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(format!("TLS cannot be set up: {error}")))?
        .with_webpki_verifier(authorities.verifier())
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    let bad = |_| TlsError(words::printable(&format!("{name} is not a name that TLS can ask for")));
    ServerName::try_from(name.to_owned()).map_err(bad)
}

fn secured(connection: &ClientConnection, judge: &Judge) -> Result<Secured, TlsError> {
    let (version, cipher) = agreed(connection)?;
    Ok(Secured { version, cipher, identity: judge.identity().ok_or_else(unfinished)? })
}

/// Version and cipher suite.
fn agreed(connection: &CommonState) -> Result<(String, String), TlsError> {
    let version = connection.protocol_version().and_then(|version| version.as_str());
    let version = version.ok_or_else(unfinished)?.replace('_', ".");
    let suite = connection.negotiated_cipher_suite().ok_or_else(unfinished)?.suite();
    Ok((version, suite.as_str().unwrap_or("unknown").to_owned()))
}

fn unfinished() -> TlsError {
    TlsError("the handshake ended without a certificate".into())
}
