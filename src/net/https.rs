//! Small documents over HTTPS: the one wrapper around hyper. Everything is bounded, and nobody is followed anywhere.

use super::dial::dial;
use super::dns::Dns;
use super::tls::{TlsClient, TlsStream};
use crate::mail::address::Domain;
use crate::policy::tls::Demand;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

#[cfg(test)]
pub(crate) mod tests;

/// The port of HTTPS.
const PORT: u16 = 443;
/// How long one address may take to answer: the next one may be alive.
const CONNECT: Duration = Duration::from_secs(5);
/// How many addresses of a host are tried.
const ADDRESSES: usize = 4;
/// Octets of an answer's header, and how many fields it may have.
const HEADER: usize = 16 << 10;
const FIELDS: usize = 64;

/// Why a document could not be fetched; a sentence of printable characters. Always temporary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HttpsError(pub String);

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its media type without parameters, in lower case: `text/plain`. Empty where none is given.
    pub media_type: String,
    /// Its content.
    pub body: Bytes,
}

/// Fetches documents. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Https {
    /// The resolver.
    pub dns: Dns,
    /// What makes the connection private, and knows the authorities.
    pub tls: TlsClient,
    /// The port of the servers.
    pub port: u16,
    /// The addresses that connections are made from, as for `dial`.
    pub source: Vec<IpAddr>,
    /// Whether loopback and private addresses may be connected to.
    pub allow_private: bool,
}

impl Https {
    /// Fetches `https://host/path` (`path` begins with a slash), all within `patience`. The certificate must be right
    /// for the host. Only a 200 is an answer; redirects are not followed, and a body longer than `limit` octets is none.
    pub async fn get(
        &self,
        host: &Domain,
        path: &str,
        limit: usize,
        patience: Duration,
    ) -> Result<Document, HttpsError> {
        let fetched = async {
            let stream = self.connect(host).await?;
            let demand = Demand::Verified;
            let secured = self.tls.handshake(stream, &[host.as_str()], &demand, patience).await;
            let (stream, _) = secured.map_err(|error| fault(host, error))?;
            self.exchange(stream, host, path, limit).await
        };
        let late = |_| Err(fault(host, format!("not fetched within {patience:?}")));
        tokio::time::timeout(patience, fetched).await.unwrap_or_else(late)
    }

    async fn connect(&self, host: &Domain) -> Result<TcpStream, HttpsError> {
        let addresses = self.dns.addresses(host).await.map_err(|error| HttpsError(error.to_string()))?;
        let mut why = fault(host, "it has no address");
        for ip in addresses.into_iter().take(ADDRESSES) {
            let peer = SocketAddr::new(ip, self.port);
            match dial(peer, &self.source, self.allow_private, CONNECT).await {
                Ok(stream) => return Ok(stream),
                Err(error) => why = HttpsError(format!("{host} [{ip}]: {error}")),
            }
        }
        Err(why)
    }

    async fn exchange(
        &self,
        stream: TlsStream<TcpStream>,
        host: &Domain,
        path: &str,
        limit: usize,
    ) -> Result<Document, HttpsError> {
        let request = self.request(host, path)?;
        let opened = http1::Builder::new()
            .max_buf_size(HEADER)
            .max_headers(FIELDS)
            .handshake(TokioIo::new(stream))
            .await;
        let (mut sender, connection) = opened.map_err(|error| fault(host, error))?;
        // Ends with this call, however that ends.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let answer = sender.send_request(request).await.map_err(|error| fault(host, error))?;
        if answer.status() != StatusCode::OK {
            // Its number only: the words are the other side's.
            return Err(fault(host, format!("it answers {}", answer.status().as_u16())));
        }
        let media_type = media_type(&answer);
        let body = Limited::new(answer.into_body(), limit).collect().await;
        Ok(Document { media_type, body: body.map_err(|error| fault(host, error))?.to_bytes() })
    }

    fn request(&self, host: &Domain, path: &str) -> Result<Request<Empty<Bytes>>, HttpsError> {
        let authority = match self.port {
            PORT => host.to_string(),
            port => format!("{host}:{port}"),
        };
        Request::get(path)
            .header(HOST, authority)
            .header(USER_AGENT, concat!("pillarbox/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "*/*")
            .header(CONNECTION, "close")
            .body(Empty::new())
            .map_err(|error| fault(host, error))
    }
}

fn fault(host: &Domain, error: impl std::fmt::Display) -> HttpsError {
    HttpsError(format!("{host}: {error}"))
}

fn media_type<B>(answer: &Response<B>) -> String {
    let value = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let bare = value.split_once(';').map_or(value, |(bare, _)| bare);
    bare.trim().to_ascii_lowercase()
}
