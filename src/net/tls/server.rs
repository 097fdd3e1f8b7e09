//! TLS as a server.

use super::pair::Pair;
use super::{TlsError, agreed, words};
use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Takes connections under TLS 1.2 and 1.3. Cheap to clone; all clones show what was given last.
#[derive(Clone)]
pub struct TlsServer {
    config: Arc<ServerConfig>,
    shown: Arc<Shown>,
}

/// A stream under TLS. Reading it ends where the client says so (close_notify); one that is cut off is
/// `UnexpectedEof`.
pub type ServerStream<S> = tokio_rustls::server::TlsStream<S>;

/// What was agreed on with a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// `TLSv1.3`.
    pub version: String,
    /// The suite's name as IANA has it: `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
}

impl fmt::Display for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.version, self.cipher)
    }
}

impl TlsServer {
    /// Shows these; the first to whoever asks for no name, or for none that one of them has. They are not asked whether they
    /// expired: an old certificate is more to a client than none.
    pub fn new(pairs: Vec<Pair>) -> Result<TlsServer, TlsError> {
        let shown = Arc::new(Shown(ArcSwap::from_pointee(pairs)));
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError(format!("TLS cannot be set up: {error}")))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as _);
        // Some large senders stumble over tickets, and mail gains nothing by resumption.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(TlsServer { config: Arc::new(config), shown })
    }

    /// Shows these from now on. Connections that are there keep what they saw.
    pub fn show(&self, pairs: Vec<Pair>) {
        self.shown.0.store(Arc::new(pairs));
    }

    /// What is shown.
    pub fn shown(&self) -> Arc<Vec<Pair>> {
        self.shown.0.load_full()
    }

    /// Performs the handshake, within `patience`.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        patience: Duration,
    ) -> Result<(ServerStream<S>, Agreed), TlsError> {
        match timeout(patience, TlsAcceptor::from(Arc::clone(&self.config)).accept(stream)).await {
            Ok(Ok(stream)) => {
                let agreed = agreed_with(stream.get_ref().1)?;
                Ok((stream, agreed))
            }
            Ok(Err(error)) => Err(TlsError(words::handshake_failure(&error))),
            Err(_) => Err(TlsError(format!("no handshake within {} seconds", patience.as_secs()))),
        }
    }
}

fn agreed_with(connection: &ServerConnection) -> Result<Agreed, TlsError> {
    let (version, cipher) = agreed(connection)?;
    Ok(Agreed { version, cipher: cipher.replacen("TLS13_", "TLS_", 1) })
}

#[derive(Debug)]
struct Shown(ArcSwap<Vec<Pair>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let pairs = self.0.load();
        let named = hello.server_name().and_then(|name| pairs.iter().find(|pair| pair.is_for(name)));
        named.or_else(|| pairs.first()).map(|pair| Arc::clone(&pair.shown))
    }
}

#[cfg(test)]
mod tests;
