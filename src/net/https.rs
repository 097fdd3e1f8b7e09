//! Small documents over HTTPS: the one wrapper around hyper. Everything is bounded, and nobody is followed anywhere.

use super::dial::dial;
use super::dns::Dns;
use super::tls::{TlsClient, TlsStream};
use crate::mail::address::{Domain, Host};
use crate::policy::tls::Demand;
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use std::fmt::Display;
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
/// Who asks.
const OURSELVES: &str = concat!("pillarbox/", env!("CARGO_PKG_VERSION"));
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

/// An answer of any kind.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its header.
    pub headers: HeaderMap,
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
            let stream = self.open(&Host::Domain(host.clone()), self.port, patience).await?;
            let (answer, _driver) = ask(stream, host, self.request(host, path)?).await?;
            if answer.status() != StatusCode::OK {
                // Its number only: the words are the other side's.
                return Err(fault(host, format!("it answers {}", answer.status().as_u16())));
            }
            let media_type = media_type(&answer);
            Ok(Document { media_type, body: content(host, answer.into_body(), limit).await? })
        };
        let late = |_| Err(fault(host, format!("not fetched within {patience:?}")));
        tokio::time::timeout(patience, fetched).await.unwrap_or_else(late)
    }

    /// Sends a request for a whole `https` URL, whose host may be an address and whose port may be any, all within
    /// `patience`. Every status is an answer; otherwise as [`Https::get`].
    pub async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        limit: usize,
        patience: Duration,
    ) -> Result<Answer, HttpsError> {
        let (host, port) = place(request.uri())?;
        let header = |text: &str| HeaderValue::from_str(text).map_err(|error| fault(&host, error));
        let authority = request.uri().authority().map_or("", |authority| authority.as_str());
        let authority = header(authority)?;
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).parse::<Uri>();
        *request.uri_mut() = path.map_err(|error| fault(&host, error))?;
        request.headers_mut().insert(HOST, authority);
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(OURSELVES));
        let sent = async {
            let stream = self.open(&host, port, patience).await?;
            let (answer, _driver) = ask(stream, &host, request).await?;
            let (head, body) = answer.into_parts();
            let body = content(&host, body, limit).await?;
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        let late = |_| Err(fault(&host, format!("no answer within {patience:?}")));
        tokio::time::timeout(patience, sent).await.unwrap_or_else(late)
    }

    /// A private connection to a host whose certificate is right.
    async fn open(
        &self,
        host: &Host,
        port: u16,
        patience: Duration,
    ) -> Result<TlsStream<TcpStream>, HttpsError> {
        let (name, addresses) = match host {
            Host::Domain(domain) => {
                let found = self.dns.addresses(domain).await;
                (domain.to_string(), found.map_err(|error| HttpsError(error.to_string()))?)
            }
            Host::Literal(ip) => (ip.to_string(), vec![*ip]),
        };
        let stream = self.connect(host, port, addresses).await?;
        let secured = self.tls.handshake(stream, &[&name], &Demand::Verified, patience).await;
        secured.map(|(stream, _)| stream).map_err(|error| fault(host, error))
    }

    async fn connect(&self, host: &Host, port: u16, addresses: Vec<IpAddr>) -> Result<TcpStream, HttpsError> {
        let mut why = fault(host, "it has no address");
        for ip in addresses.into_iter().take(ADDRESSES) {
            let peer = SocketAddr::new(ip, port);
            match dial(peer, &self.source, self.allow_private, CONNECT).await {
                Ok(stream) => return Ok(stream),
                Err(error) => why = HttpsError(format!("{host} [{ip}]: {error}")),
            }
        }
        Err(why)
    }

    fn request(&self, host: &Domain, path: &str) -> Result<Request<Empty<Bytes>>, HttpsError> {
        let authority = match self.port {
            PORT => host.to_string(),
            port => format!("{host}:{port}"),
        };
        Request::get(path)
            .header(HOST, authority)
            .header(USER_AGENT, OURSELVES)
            .header(ACCEPT, "*/*")
            .header(CONNECTION, "close")
            .body(Empty::new())
            .map_err(|error| fault(host, error))
    }
}

/// Host and port of an `https` URL.
fn place(url: &Uri) -> Result<(Host, u16), HttpsError> {
    let bad = |why: &str| {
        HttpsError(format!("{}: {why}", url.to_string().escape_debug().take(200).collect::<String>()))
    };
    if url.scheme_str() != Some("https") {
        return Err(bad("not a URL that begins with https://"));
    }
    let text = url.host().unwrap_or_default();
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let host = match bare.parse::<IpAddr>() {
        Ok(ip) => Host::Literal(ip),
        Err(_) => Host::Domain(Domain::parse(text).map_err(|error| bad(&error.to_string()))?),
    };
    Ok((host, url.port_u16().unwrap_or(PORT)))
}

/// Asks; the answer can be read as long as the driver is there.
async fn ask<B>(
    stream: TlsStream<TcpStream>,
    host: &impl Display,
    request: Request<B>,
) -> Result<(Response<Incoming>, JoinSet<hyper::Result<()>>), HttpsError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let opened =
        http1::Builder::new().max_buf_size(HEADER).max_headers(FIELDS).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(|error| fault(host, error))?;
    // Ends with the call that holds it, however that ends.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let answer = sender.send_request(request).await.map_err(|error| fault(host, error))?;
    Ok((answer, driver))
}

async fn content(host: &impl Display, body: Incoming, limit: usize) -> Result<Bytes, HttpsError> {
    let body = Limited::new(body, limit).collect().await;
    Ok(body.map_err(|error| fault(host, error))?.to_bytes())
}

fn fault(host: &impl Display, error: impl Display) -> HttpsError {
    HttpsError(format!("{host}: {error}"))
}

fn media_type<B>(answer: &Response<B>) -> String {
    let value = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let bare = value.split_once(';').map_or(value, |(bare, _)| bare);
    bare.trim().to_ascii_lowercase()
}
