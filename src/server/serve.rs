//! `pillarbox serve`, from reading the configuration to the last connection.

use super::allowed::Allowed;
use super::budget::{Budget, Full, Place};
use super::connection::{Peer, drive};
use super::house::House;
use super::listeners::{Listeners, bind_unix};
use super::replies;
use super::shield::{blocking, shielded};
use crate::config;
use crate::error::{Exit, Failure};
use crate::net::preface::{MAX_PREFACE, Preface};
use crate::relay;
use crate::smtp::Door;
use crate::smtp::reply::Reply;
use crate::system::{files, user};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Connections that the owner may have at once, by TCP and by the gate's socket each.
const SUBMISSION_CONNECTIONS: usize = 64;
/// How long a letter in hand may take when the server is told to stop.
const GRACE: Duration = Duration::from_secs(30);
/// How often leftovers in `tmp/` are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(6 * 3600);
/// How old a leftover in `tmp/` must be (the Maildir convention).
const LEFTOVER: Duration = Duration::from_secs(36 * 3600);

/// Serves until SIGTERM or SIGINT.
pub fn run(config: config::Server) -> Result<(), Failure> {
    // A connection is its socket, its spill, and a handle of each directory that its letter goes to.
    files::raise_limit();
    let listeners = Listeners::bind(&config.listen)?;
    user::become_user(config.user.as_deref(), &config.state_dir)?;
    let house = Arc::new(House::open(config)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(512 << 10)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::OsErr, format!("starting threads: {error}")))?;
    let outcome = runtime.block_on(serve(house, listeners));
    // A thread that still waits for a dead disk must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn serve(house: Arc<House>, listeners: Listeners) -> Result<(), Failure> {
    let os = |error: std::io::Error| Failure::new(Exit::OsErr, error.to_string());
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let relay = relay::Relay::open(house.relay.clone()).await;
    let mut doors = Vec::new();
    let mut open = Opened::default();
    let limits = &house.config.limits;
    let strangers = Budget::new(limits.connections, limits.connections_per_ip);
    let owners = Budget::new(SUBMISSION_CONNECTIONS, SUBMISSION_CONNECTIONS);
    for (door, listener) in listeners.tcp {
        let listener = TcpListener::from_std(listener).map_err(os)?;
        open.note(door, &listener).map_err(os)?;
        let budget = if door == Door::Mx { &strangers } else { &owners };
        doors.push(tokio::spawn(tcp_door(
            door,
            listener,
            Arc::clone(budget),
            Arc::clone(&house),
            stopped.clone(),
        )));
    }
    let socket = house.config.state_dir.join("submission.sock");
    let unix = UnixListener::from_std(bind_unix(&socket)?).map_err(os)?;
    let by_gate = Budget::new(SUBMISSION_CONNECTIONS, SUBMISSION_CONNECTIONS);
    doors.push(tokio::spawn(unix_door(unix, by_gate, Arc::clone(&house), stopped.clone())));
    tasks.spawn(relay::run(relay, stopped.clone()));
    tasks.spawn(sweep(Arc::clone(&house), stopped.clone()));
    // Handlers first: whoever reads that we are ready may already send a signal.
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate()).map_err(os)?, signal(SignalKind::interrupt()).map_err(os)?);
    open.announce(&house)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: finishing what is in hand");
    let _ = stop.send(true);
    let finish = async {
        for door in doors {
            let _ = door.await;
        }
        while tasks.join_next().await.is_some() {}
    };
    if tokio::time::timeout(GRACE, finish).await.is_err() {
        tracing::warn!(
            "ending with letters still in hand; their senders were told nothing and will try again"
        );
    }
    Ok(())
}

/// What was bound, for `state_dir/listening.json`: port 0 in the configuration means that the system chose.
#[derive(Debug, Default, serde::Serialize)]
struct Opened {
    mx: Vec<std::net::SocketAddr>,
    submission: Vec<std::net::SocketAddr>,
    socket: std::path::PathBuf,
    pid: u32,
}

impl Opened {
    fn note(&mut self, door: Door, listener: &TcpListener) -> std::io::Result<()> {
        let address = listener.local_addr()?;
        match door {
            Door::Mx => self.mx.push(address),
            Door::Submission => self.submission.push(address),
        }
        Ok(())
    }

    fn announce(mut self, house: &House) -> Result<(), Failure> {
        let state = &house.config.state_dir;
        self.socket = state.join("submission.sock");
        self.pid = std::process::id();
        let text = serde_json::to_vec(&self).unwrap_or_default();
        let (path, staged) = (state.join("listening.json"), state.join("listening.json.new"));
        std::fs::write(&staged, text)
            .and_then(|()| std::fs::rename(&staged, &path))
            .map_err(|error| Failure::new(Exit::CantCreat, format!("{}: {error}", path.display())))?;
        tracing::info!(
            hostname = house.config.hostname,
            mx = ?self.mx,
            submission = ?self.submission,
            version = env!("CARGO_PKG_VERSION"),
            "ready"
        );
        Ok(())
    }
}

async fn tcp_door(
    door: Door,
    listener: TcpListener,
    budget: Arc<Budget>,
    house: Arc<House>,
    stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut stopping = stop.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                // Replies are single small packets that must not wait for the client's acknowledgement.
                let _ = stream.set_nodelay(true);
                let ip = address.ip().to_canonical();
                let peer = Peer { door, ip: Some(ip), allowed: None };
                connections.spawn(one(
                    stream,
                    peer,
                    budget.enter(Some(ip)),
                    Arc::clone(&house),
                    stop.clone(),
                ));
            }
            Err(error) => accept_failed(&error).await,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn unix_door(
    listener: UnixListener,
    budget: Arc<Budget>,
    house: Arc<House>,
    stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut stopping = stop.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(gated(stream, budget.enter(None), Arc::clone(&house), stop.clone()));
            }
            Err(error) => accept_failed(&error).await,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Out of files, most likely: a pause lets some close, and a loop that spins helps nobody.
async fn accept_failed(error: &std::io::Error) {
    tracing::error!(%error, "accepting a connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// A connection from the gate: its first line says what the ssh key may do.
async fn gated(
    mut stream: tokio::net::UnixStream,
    place: Result<Place, Full>,
    house: Arc<House>,
    stop: watch::Receiver<bool>,
) {
    let allowed = match tokio::time::timeout(Duration::from_secs(10), allowed_by_preface(&mut stream)).await {
        Ok(Ok(allowed)) => allowed,
        Ok(Err(error)) => return tracing::warn!(error, "the gate's first line"),
        Err(_) => return tracing::warn!("the gate said nothing"),
    };
    let peer = Peer { door: Door::Submission, ip: None, allowed: Some(allowed) };
    one(stream, peer, place, house, stop).await;
}

/// Reads the first line and not an octet more: what follows is the client's.
async fn allowed_by_preface(stream: &mut tokio::net::UnixStream) -> Result<Allowed, String> {
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

async fn one<S>(
    mut stream: S,
    peer: Peer,
    place: Result<Place, Full>,
    house: Arc<House>,
    stop: watch::Receiver<bool>,
) where
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
    if let Err(panic) = shielded(drive(&mut stream, peer, house, stop)).await {
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

/// Removes what crashes left in `tmp/`.
async fn sweep(house: Arc<House>, mut stop: watch::Receiver<bool>) {
    loop {
        let here = Arc::clone(&house);
        match blocking(move || here.store.sweep(LEFTOVER)).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "swept leftovers out of tmp/"),
            Err(error) => tracing::warn!(%error, "sweeping tmp/"),
        }
        tokio::select! {
            () = tokio::time::sleep(SWEEP_EVERY) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}
