//! Accepting connections, through the doors that lead out and the one that the gate uses, and conversing with each.

use super::allowed::Allowed;
use super::budget::{Budget, Full, Place};
use super::connection::{Peer, drive};
use super::house::House;
use super::replies;
use super::shield::shielded;
use crate::net::preface::{MAX_PREFACE, Preface};
use crate::smtp::Door;
use crate::smtp::reply::Reply;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long the gate may take for its first line.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);

/// What all connections of a listener share.
#[derive(Clone)]
pub struct Hall {
    /// How many there may be.
    pub budget: Arc<Budget>,
    /// What they are served from.
    pub house: Arc<House>,
    /// When to end.
    pub stop: watch::Receiver<bool>,
}

/// Serves a TCP listener until told to stop, then finishes what is in hand.
pub fn tcp(listener: TcpListener, door: Door, hall: Hall) -> impl Future<Output = ()> + Send + 'static {
    let stop = hall.stop.clone();
    let accept = move |context: &mut Context<'_>| listener.poll_accept(context);
    keep_open(accept, stop, move |(stream, address)| {
        // Replies are single small packets that must not wait for the client's acknowledgement.
        let _ = stream.set_nodelay(true);
        let ip = address.ip().to_canonical();
        let peer = Peer { door, ip: Some(ip), allowed: None };
        one(stream, peer, hall.budget.enter(Some(ip)), hall.clone())
    })
}

/// Serves the gate's socket until told to stop, then finishes what is in hand.
pub fn unix(listener: UnixListener, hall: Hall) -> impl Future<Output = ()> + Send + 'static {
    let stop = hall.stop.clone();
    let accept = move |context: &mut Context<'_>| listener.poll_accept(context);
    keep_open(accept, stop, move |(stream, _)| gated(stream, hall.budget.enter(None), hall.clone()))
}

/// Converses with whoever comes until `stop`, then finishes what is in hand.
pub(super) async fn keep_open<C, F: Future<Output = ()> + Send + 'static>(
    mut accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<C>>,
    mut stop: watch::Receiver<bool>,
    converse: impl Fn(C) -> F,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = poll_fn(&mut accept) => accepted,
        };
        match accepted {
            Ok(connection) => {
                connections.spawn(converse(connection));
            }
            Err(error) => {
                tracing::error!(%error, "accepting a connection");
                // Out of files, most likely: a pause lets some close, and a loop that spins helps nobody.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    // The listener goes with it: whoever comes now is refused and tries again.
    drop(accept);
    while connections.join_next().await.is_some() {}
}

/// A connection from the gate: its first line says what the ssh key may do.
async fn gated(mut stream: UnixStream, place: Result<Place, Full>, hall: Hall) {
    let allowed = match tokio::time::timeout(PREFACE_TIMEOUT, allowed_by_preface(&mut stream)).await {
        Ok(Ok(allowed)) => allowed,
        Ok(Err(error)) => return tracing::warn!(error, "the gate's first line"),
        Err(_) => return tracing::warn!("the gate said nothing"),
    };
    let peer = Peer { door: Door::Submission, ip: None, allowed: Some(allowed) };
    one(stream, peer, place, hall).await;
}

/// Reads the first line and not an octet more: what follows is the client's.
async fn allowed_by_preface(stream: &mut UnixStream) -> Result<Allowed, String> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        if line.len() >= MAX_PREFACE {
            return Err("it does not end".into());
        }
        line.push(stream.read_u8().await.map_err(|error| error.to_string())?);
    }
    let preface = Preface::parse(&line).map_err(|error| error.to_string())?;
    Allowed::from_preface(&preface)
}

async fn one<S>(mut stream: S, peer: Peer, place: Result<Place, Full>, hall: Hall)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _place = match place {
        Ok(place) => place,
        Err(full) => {
            tracing::info!(door = ?peer.door, peer = shown(peer.ip), ?full, "turned away");
            return dismiss(&mut stream, &replies::too_many_connections(full == Full::Address)).await;
        }
    };
    let ip = peer.ip;
    if let Err(panic) = shielded(drive(&mut stream, peer, hall.house, hall.stop)).await {
        tracing::error!(peer = shown(ip), panic, "a fault in one connection");
        dismiss(&mut stream, &replies::broken()).await;
    }
}

fn shown(ip: Option<IpAddr>) -> Option<String> {
    ip.map(|ip| ip.to_string())
}

async fn dismiss<S: AsyncWrite + Unpin>(stream: &mut S, reply: &Reply) {
    let mut bytes = Vec::new();
    reply.encode(&mut bytes);
    let goodbye = async {
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
    };
    let _ = tokio::time::timeout(Duration::from_secs(5), goodbye).await;
}
