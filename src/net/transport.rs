//! The way to a server: a TCP connection, perhaps under TLS, or a child process whose stdin and stdout are the other side.

mod child;
mod private;

use super::tls::TlsStream;
use crate::config::Via;
pub use child::{ChildStream, Stderr};
pub use private::Assurance;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

/// How long all attempts to connect may take together.
const CONNECT: Duration = Duration::from_secs(10);

/// How long one address has before the next is tried beside it (RFC 8305 section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Why there is no way to a server: always temporary, the sentence names the address or command.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct TransportError(pub String);

/// A stream to a server.
#[derive(Debug)]
pub enum Stream {
    /// A TCP connection, with TCP_NODELAY.
    Tcp(TcpStream),
    /// The same, under TLS.
    Tls(Box<TlsStream<TcpStream>>),
    /// A child process.
    Child(Box<ChildStream>),
}

/// Goes the configured way to `server`: the command with `{server}` filled in, or `smtp://host:port` (25 where there is
/// no port), whose host is looked up as the system does. [`Assurance::reach`] is the way to `smtps://`.
pub async fn reach(via: &Via, server: &str, stderr: Stderr) -> Result<Stream, TransportError> {
    match via {
        Via::Command(command) => spawn(command, server, stderr),
        Via::Url(url) => connect_host(&with_port(&place_of(url, "smtp", server)?, 25)).await,
    }
}

/// Connects to the first of `addresses` that answers, within ten seconds. They are tried in order; the next one is begun
/// as soon as one fails or takes longer than a quarter of a second.
pub async fn connect(addresses: &[SocketAddr]) -> Result<Stream, TransportError> {
    let deadline = Instant::now() + CONNECT;
    let (mut untried, mut attempts, mut faults) = (addresses.iter().copied(), JoinSet::new(), Vec::new());
    loop {
        if let Some(address) = untried.next() {
            attempts.spawn(async move { (address, TcpStream::connect(address).await) });
        }
        let head_start = if untried.len() > 0 { deadline.min(Instant::now() + HEAD_START) } else { deadline };
        match timeout_at(head_start, attempts.join_next()).await {
            Ok(Some(Ok((address, Ok(stream))))) => match stream.set_nodelay(true) {
                Ok(()) => return Ok(Stream::Tcp(stream)),
                Err(error) => faults.push(format!("{address}: {error}")),
            },
            Ok(Some(Ok((address, Err(error))))) => faults.push(format!("{address}: {error}")),
            Ok(Some(Err(error))) => faults.push(error.to_string()),
            Ok(None) => break,
            Err(_) if Instant::now() >= deadline => {
                faults.push(format!("no answer in {CONNECT:?}"));
                break;
            }
            Err(_) => {}
        }
    }
    match faults.is_empty() {
        true => Err(TransportError("there is no address to connect to".into())),
        false => Err(TransportError(format!("cannot connect: {}", faults.join("; ")))),
    }
}

/// Starts `command`, `{server}` filled in, as the other side.
pub fn spawn(command: &[String], server: &str, stderr: Stderr) -> Result<Stream, TransportError> {
    Ok(Stream::Child(Box::new(ChildStream::spawn(command, server, stderr)?)))
}

impl Stream {
    /// The other side's address, if it is one.
    pub fn peer(&self) -> Option<SocketAddr> {
        match self {
            Stream::Tcp(stream) => stream.peer_addr().ok(),
            Stream::Tls(stream) => stream.get_ref().0.peer_addr().ok(),
            Stream::Child(_) => None,
        }
    }

    /// Closes the stream. A child may take `patience` to end by itself, then it is killed; an error says how it ended,
    /// and its last words on stderr if they were captured: the reason when a server did not even greet.
    pub async fn finish(self, patience: Duration) -> Result<(), String> {
        match self {
            Stream::Tcp(_) => Ok(()),
            Stream::Tls(mut stream) => {
                // A farewell, whether or not it is heard.
                let _ = timeout(patience, stream.shutdown()).await;
                Ok(())
            }
            Stream::Child(child) => child.finish(patience).await,
        }
    }
}

async fn connect_host(place: &str) -> Result<Stream, TransportError> {
    let found = match timeout(CONNECT, tokio::net::lookup_host(place)).await {
        Ok(Ok(found)) => found.collect::<Vec<_>>(),
        Ok(Err(error)) => return Err(TransportError(format!("{place}: {error}"))),
        Err(_) => return Err(TransportError(format!("{place}: no answer from DNS in {CONNECT:?}"))),
    };
    connect(&found).await
}

/// What stands behind `SCHEME://`, with `{server}` filled in.
fn place_of(url: &str, scheme: &str, server: &str) -> Result<String, TransportError> {
    let place = url.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
    let place = place.map(|place| place.trim_end_matches('/'));
    let place = place.filter(|place| !place.is_empty() && !place.contains('/'));
    let want = || TransportError(format!("{url}: want {scheme}://host:port"));
    Ok(place.ok_or_else(want)?.replace("{server}", server))
}

/// `host`, `host:port`, `[::1]`, `[::1]:port`.
fn with_port(place: &str, usual: u16) -> String {
    let port = place.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if port && !place.ends_with(']') { place.to_owned() } else { format!("{place}:{usual}") }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Child(child) => Pin::new(child).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Child(child) => Pin::new(child).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Child(child) => Pin::new(child).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Child(child) => Pin::new(child).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests;
