//! A client's connection: in clear, or under TLS from the first octet or from STARTTLS on.

use crate::net::tls::TlsError;
use crate::net::tls::server::{Agreed, ServerStream, TlsServer};
use crate::smtp::server::Tls;
use rustix::net::sockopt::set_tcp_quickack;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// How long a client may take for the handshake.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// What a door has of TLS.
pub enum Offer {
    /// Nothing: what comes through it is private already.
    Nothing,
    /// STARTTLS.
    OnDemand(TlsServer),
    /// TLS before the first word (RFC 8314 section 3).
    AtOnce(TlsServer),
}

/// A connection that can become private in its place.
pub struct Stream<S> {
    layer: Layer<S>,
    offer: Offer,
}

enum Layer<S> {
    Clear(S),
    // In a box: what is in clear does not carry the room for it.
    Private(Box<ServerStream<S>>),
    /// A handshake has it, or had it and failed.
    Gone,
}

impl<S: AsyncRead + AsyncWrite + AsFd + Unpin> Stream<S> {
    /// One that has just come.
    pub fn new(stream: S, offer: Offer) -> Stream<S> {
        Stream { layer: Layer::Clear(stream), offer }
    }

    /// Whether the handshake has to come before anything can be said.
    pub fn is_to_be_secured(&self) -> bool {
        matches!((&self.layer, &self.offer), (Layer::Clear(_), Offer::AtOnce(_)))
    }

    /// What a session on it may offer.
    pub fn tls(&self) -> Tls {
        match (&self.layer, &self.offer) {
            (Layer::Private(_), _) => Tls::Active,
            (_, Offer::OnDemand(_)) => Tls::Offered,
            _ => Tls::Unavailable,
        }
    }

    /// Performs the handshake. Where it fails, or is not waited for to its end, the connection is gone.
    pub async fn secure(&mut self) -> Result<Agreed, TlsError> {
        let (Offer::OnDemand(tls) | Offer::AtOnce(tls)) = &self.offer else {
            return Err(TlsError("there is no TLS at this door".into()));
        };
        match std::mem::replace(&mut self.layer, Layer::Gone) {
            Layer::Clear(stream) => {
                let (stream, agreed) = tls.accept(stream, HANDSHAKE).await?;
                // The handshake's last word is the client's, and without tickets nothing follows it from us: where its system holds
                // small packets back (Nagle), its EHLO would wait for an acknowledgement that ours delays by 40 ms.
                let _ = set_tcp_quickack(stream.get_ref().0, true);
                self.layer = Layer::Private(Box::new(stream));
                Ok(agreed)
            }
            other => {
                self.layer = other;
                Err(TlsError("it is under TLS already, or gone".into()))
            }
        }
    }

    /// The client has gone. Where it said so (close_notify) it is answered (RFC 5246 section 7.2.1), as far as that can be
    /// done without waiting.
    pub async fn part(&mut self) {
        if let Layer::Private(stream) = &mut self.layer {
            let _ = tokio::time::timeout(Duration::ZERO, stream.shutdown()).await;
        }
    }
}

fn gone<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.layer {
            Layer::Clear(stream) => Pin::new(stream).poll_read(context, buffer),
            Layer::Private(stream) => {
                let read = Pin::new(stream.as_mut()).poll_read(context, buffer);
                // What TLS answers by itself (a renegotiation is refused, a key renewed) does not wait for our next reply. A
                // fault will show with that.
                if stream.get_ref().1.wants_write() {
                    let _ = Pin::new(stream.as_mut()).poll_flush(context);
                }
                read
            }
            Layer::Gone => gone(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.layer {
            Layer::Clear(stream) => Pin::new(stream).poll_write(context, octets),
            Layer::Private(stream) => Pin::new(stream.as_mut()).poll_write(context, octets),
            Layer::Gone => gone(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.layer {
            Layer::Clear(stream) => Pin::new(stream).poll_flush(context),
            Layer::Private(stream) => Pin::new(stream.as_mut()).poll_flush(context),
            Layer::Gone => gone(),
        }
    }

    /// Under TLS close_notify is sent first.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.layer {
            Layer::Clear(stream) => Pin::new(stream).poll_shutdown(context),
            Layer::Private(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
            Layer::Gone => gone(),
        }
    }
}
