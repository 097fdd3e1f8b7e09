//! Accepting connections, through the doors that lead out and the one that the gate uses, and conversing with each.

use super::allowed::Allowed;
use super::budget::{Budget, Place, Waiting};
use super::connection::{Guest, Peer, drive};
use super::house::House;
use super::limits::rates::Kind;
use super::limits::watch::{Client, Watch};
use super::listeners::Entrance;
use super::replies;
use super::shield::shielded;
use super::stream::{Offer, Stream};
use crate::net::preface::{MAX_PREFACE, Preface};
use crate::net::tls::server::TlsServer;
use crate::smtp::Door;
use crate::smtp::reply::Reply;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long the gate may take for its first line.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);

/// That no connection can be accepted is said so often.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What all connections of a listener share.
#[derive(Clone)]
pub struct Hall {
    /// How many there may be.
    pub budget: Arc<Budget>,
    /// What is known of the places that they come from.
    pub watch: Arc<Watch>,
    /// What they are served from.
    pub house: Arc<House>,
    /// What makes them private.
    pub tls: TlsServer,
    /// When to end.
    pub stop: watch::Receiver<bool>,
}

/// Serves a TCP listener until told to stop, then finishes what is in hand.
pub fn tcp(
    listener: TcpListener,
    entrance: Entrance,
    hall: Hall,
) -> impl Future<Output = ()> + Send + 'static {
    let stop = hall.stop.clone();
    let accept = move |context: &mut Context<'_>| listener.poll_accept(context);
    let budget = Arc::clone(&hall.budget);
    let make_room = move || budget.make_room();
    keep_open(accept, stop, make_room, move |(stream, address)| {
        // Replies are single small packets that must not wait for the client's acknowledgement.
        let _ = stream.set_nodelay(true);
        let ip = address.ip().to_canonical();
        let client = match entrance {
            Entrance::Mx | Entrance::Submissions => hall.watch.stranger(ip),
            Entrance::Submission => hall.watch.owner(),
        };
        let place = admit(&hall.budget, &client, Some(ip));
        let afar = entrance == Entrance::Submissions;
        let peer = Peer { door: entrance.door(), ip: Some(ip), allowed: None, afar };
        let offer = match entrance {
            Entrance::Mx | Entrance::Submission => Offer::OnDemand(hall.tls.clone()),
            Entrance::Submissions => Offer::AtOnce(hall.tls.clone()),
        };
        one(Stream::new(stream, offer), Visitor { peer, client, place }, hall.clone())
    })
}

/// Serves the gate's socket until told to stop, then finishes what is in hand.
pub fn unix(listener: UnixListener, hall: Hall) -> impl Future<Output = ()> + Send + 'static {
    let stop = hall.stop.clone();
    let accept = move |context: &mut Context<'_>| listener.poll_accept(context);
    let budget = Arc::clone(&hall.budget);
    keep_open(
        accept,
        stop,
        move || budget.make_room(),
        move |(stream, _)| {
            let client = hall.watch.owner();
            let place = admit(&hall.budget, &client, None);
            gated(stream, client, place, hall.clone())
        },
    )
}

/// Converses with whoever comes until `stop`, then finishes what is in hand. `make_room` ends a connection that can be
/// spared, for when there are no files left.
pub(super) async fn keep_open<C, F: Future<Output = ()> + Send + 'static>(
    mut accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<C>>,
    mut stop: watch::Receiver<bool>,
    make_room: impl Fn() -> bool,
    converse: impl Fn(C) -> F,
) {
    let mut connections = JoinSet::new();
    let mut told: Option<Instant> = None;
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
            // The client's own end, before we came to it: accept(2) has taken it off the queue.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if told.is_none_or(|told| told.elapsed() > TELL_EVERY) {
                    told = Some(Instant::now());
                    let remedy = "raise the limit of open files (LimitNOFILE) or lower limits.connections";
                    tracing::error!(%error, remedy, "accepting a connection");
                }
                // Out of files or memory. A loop that spins helps nobody; a pause lets some close, and the one that is
                // called off is the first.
                make_room();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    // The listener goes with it: whoever comes now is refused and tries again.
    drop(accept);
    while connections.join_next().await.is_some() {}
}

/// A place for whoever comes, or what he is told instead.
fn admit(budget: &Arc<Budget>, client: &Client, ip: Option<IpAddr>) -> Result<Place, Reply> {
    let within = client.within(Kind::Errors).and_then(|()| client.may(Kind::Connections));
    within.map_err(|over| replies::over_rate(421, &over))?;
    let mut place = budget.enter(ip).map_err(replies::too_many_connections)?;
    // From the first moment on: of a hundred that come at once, the last must not find the others at work.
    place.waits(Waiting::Idle, client.is_known(), Instant::now());
    Ok(place)
}

/// Somebody at the door, who may have got a place.
struct Visitor {
    peer: Peer,
    client: Client,
    place: Result<Place, Reply>,
}

/// A connection from the gate: its first line says what the ssh key may do.
async fn gated(mut stream: UnixStream, client: Client, place: Result<Place, Reply>, hall: Hall) {
    let allowed = match tokio::time::timeout(PREFACE_TIMEOUT, allowed_by_preface(&mut stream)).await {
        Ok(Ok(allowed)) => allowed,
        Ok(Err(error)) => return tracing::warn!(error, "the gate's first line"),
        Err(_) => return tracing::warn!("the gate said nothing"),
    };
    let peer = Peer { door: Door::Submission, ip: None, allowed: Some(allowed), afar: false };
    one(Stream::new(stream, Offer::Nothing), Visitor { peer, client, place }, hall).await;
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

async fn one<S>(mut stream: Stream<S>, visitor: Visitor, hall: Hall)
where
    S: AsyncRead + AsyncWrite + AsFd + Unpin,
{
    let Visitor { peer, client, place } = visitor;
    let place = match place {
        Ok(place) => place,
        Err(reply) => {
            if client.may_tell("turned away") {
                tracing::info!(door = ?peer.door, peer = shown(peer.ip), reason = reply.text, "turned away");
            }
            return dismiss(&mut stream, &reply).await;
        }
    };
    let ip = peer.ip;
    let guest = Guest { peer, place, client };
    if let Err(panic) = shielded(drive(&mut stream, guest, hall.house, hall.stop)).await {
        tracing::error!(peer = shown(ip), panic, "a fault in one connection");
        dismiss(&mut stream, &replies::broken()).await;
    }
}

fn shown(ip: Option<IpAddr>) -> Option<String> {
    ip.map(|ip| ip.to_string())
}

/// Says this and ends. Whoever waits for TLS cannot be told in clear, and a handshake for nothing but that would make those
/// dear who are too many.
async fn dismiss<S: AsyncRead + AsyncWrite + AsFd + Unpin>(stream: &mut Stream<S>, reply: &Reply) {
    if stream.is_to_be_secured() {
        return;
    }
    let mut bytes = Vec::new();
    reply.encode(&mut bytes);
    let goodbye = async {
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
    };
    let _ = tokio::time::timeout(Duration::from_secs(5), goodbye).await;
}
