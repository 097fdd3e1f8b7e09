//! `pillarbox serve`, from reading the configuration to the last connection.

use super::budget::Budget;
use super::control;
use super::doors;
use super::filter::Filter;
use super::house::House;
use super::limits::watch::Watch;
use super::listeners::{Entrance, Listeners, bind_unix};
use crate::certs::Keeper;
use crate::certs::orders::Renewals;
use crate::config;
use crate::error::{Exit, Failure};
use crate::net::tls::server::TlsServer;
use crate::relay;
use crate::system::threads::blocking;
use crate::system::{capabilities, files, inherited, notify, user};
use std::sync::Arc;
use std::time::Duration;
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

/// A thread's stack. What is not used costs nothing. A chain of signatures is checked frame upon frame, a zone upon
/// another: the longest that is looked at takes between one and two MiB in a debug build.
const STACK: usize = 4 << 20;

/// Serves until SIGTERM or SIGINT.
pub fn run(config: config::Server) -> Result<(), Failure> {
    let inherited = inherited::take()?;
    capabilities::not_for_children()?;
    // Early: as the user that it is started by, with the files and limits that a program expects.
    let filter = Filter::start(&config)?;
    // A connection is its socket, its spill, and a handle of each directory that its letter goes to.
    files::raise_limit();
    let listeners = Listeners::open(inherited, &config.listen)?;
    // The authority's questions are answered at a low port, which is bound anew for each order.
    let low_ports = config.tls.acme.as_ref().is_some_and(|acme| capabilities::are_low(&acme.listen));
    capabilities::through(low_ports, || user::become_user(config.user.as_deref(), &config.state_dir))?;
    // Nothing of the network was read up to here: whoever connects already waits until the doors are served.
    if let Some(exposed) = user::exposed(&config.state_dir) {
        tracing::warn!("{exposed}");
    }
    let house = Arc::new(House::open(config, filter)?);
    let (keeper, tls, renewals) = Keeper::open(house.config(), &house.premises.name)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(STACK)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::OsErr, format!("starting threads: {error}")))?;
    let outcome = runtime.block_on(serve(house, listeners, (keeper, tls, renewals)));
    // A thread that still waits for a dead disk must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn serve(
    house: Arc<House>,
    listeners: Listeners,
    (keeper, tls, renewals): (Keeper, TlsServer, Renewals),
) -> Result<(), Failure> {
    let os = |error: std::io::Error| Failure::new(Exit::OsErr, error.to_string());
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let relay = relay::Relay::open(house.relay.clone()).await;
    let dns = house.premises.dns.clone();
    tokio::spawn(async move { dns.see_dnssec().await });
    let mut open_doors = JoinSet::new();
    let mut open = Opened::default();
    let limits = &house.config().limits;
    let strangers = Budget::new(files::connections(limits.connections), limits.connections_per_ip);
    let owners = Budget::new(SUBMISSION_CONNECTIONS, SUBMISSION_CONNECTIONS);
    // Anybody may knock there; he must not take the places of those who come by ssh.
    let from_afar = Budget::impatient(SUBMISSION_CONNECTIONS, limits.connections_per_ip);
    let watch = Watch::new(limits);
    let hall = |budget: &Arc<Budget>| {
        let (budget, watch) = (Arc::clone(budget), Arc::clone(&watch));
        doors::Hall { budget, watch, house: Arc::clone(&house), tls: tls.clone(), stop: stopped.clone() }
    };
    for (entrance, listener) in listeners.tcp {
        let listener = TcpListener::from_std(listener).map_err(os)?;
        open.note(entrance, &listener).map_err(os)?;
        let budget = match entrance {
            Entrance::Mx => &strangers,
            Entrance::Submission => &owners,
            Entrance::Submissions => &from_afar,
        };
        open_doors.spawn(doors::tcp(listener, entrance, hall(budget)));
    }
    let socket = house.config().state_dir.join("submission.sock");
    let unix = UnixListener::from_std(bind_unix(&socket)?).map_err(os)?;
    let by_gate = Budget::new(SUBMISSION_CONNECTIONS, SUBMISSION_CONNECTIONS);
    open_doors.spawn(doors::unix(unix, hall(&by_gate)));
    let socket = control::socket_in(&house.config().state_dir);
    let unix = UnixListener::from_std(bind_unix(&socket)?).map_err(os)?;
    let hands = control::Hands { queue: relay.control(), certificates: renewals };
    open_doors.spawn(control::serve(unix, hands, stopped.clone()));
    tasks.spawn(relay::run(relay, stopped.clone()));
    if house.filter.is_some() {
        tasks.spawn(watch_filter(Arc::clone(&house), stopped.clone()));
    }
    tasks.spawn(keeper.run(stopped.clone()));
    tasks.spawn(sweep(Arc::clone(&house), stopped.clone()));
    // Handlers first: whoever reads that we are ready may already send a signal.
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate()).map_err(os)?, signal(SignalKind::interrupt()).map_err(os)?);
    open.announce(&house)?;
    notify::tell(notify::READY);
    let outcome = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        broken = broken(&mut open_doors) => Err(broken),
        broken = broken(&mut tasks) => Err(broken),
    };
    tracing::info!("stopping: finishing what is in hand");
    notify::tell(notify::STOPPING);
    let _ = stop.send(true);
    let finish = async {
        while open_doors.join_next().await.is_some() {}
        while tasks.join_next().await.is_some() {}
    };
    if tokio::time::timeout(GRACE, finish).await.is_err() {
        tracing::warn!(
            "ending with letters still in hand; their senders were told nothing and will try again"
        );
    }
    outcome
}

/// Waits until one of those breaks off that are to run until we stop. A server that goes on without its relay would take
/// letters that nobody carries: it is better ended, and started again.
async fn broken(tasks: &mut JoinSet<()>) -> Failure {
    let why = match tasks.join_next().await {
        Some(Err(error)) => error.to_string(),
        Some(Ok(())) => "it ended by itself".into(),
        None => std::future::pending().await,
    };
    tracing::error!(why, "a part of the server broke off; ending, to be started again");
    Failure::new(Exit::Software, format!("a part of the server broke off: {why}"))
}

/// What was bound, for `state_dir/listening.json`: port 0 in the configuration means that the system chose.
#[derive(Debug, Default, serde::Serialize)]
struct Opened {
    mx: Vec<std::net::SocketAddr>,
    submission: Vec<std::net::SocketAddr>,
    submissions: Vec<std::net::SocketAddr>,
    socket: std::path::PathBuf,
    control: std::path::PathBuf,
    pid: u32,
}

impl Opened {
    fn note(&mut self, entrance: Entrance, listener: &TcpListener) -> std::io::Result<()> {
        let address = listener.local_addr()?;
        match entrance {
            Entrance::Mx => self.mx.push(address),
            Entrance::Submission => self.submission.push(address),
            Entrance::Submissions => self.submissions.push(address),
        }
        Ok(())
    }

    fn announce(mut self, house: &House) -> Result<(), Failure> {
        let state = &house.config().state_dir;
        self.socket = state.join("submission.sock");
        self.control = control::socket_in(state);
        self.pid = std::process::id();
        let text = serde_json::to_vec(&self).unwrap_or_default();
        let (path, staged) = (state.join("listening.json"), state.join("listening.json.new"));
        std::fs::write(&staged, text)
            .and_then(|()| std::fs::rename(&staged, &path))
            .map_err(|error| Failure::new(Exit::CantCreat, format!("{}: {error}", path.display())))?;
        tracing::info!(
            hostname = house.config().hostname,
            mx = ?self.mx,
            submission = ?self.submission,
            submissions = ?self.submissions,
            version = env!("CARGO_PKG_VERSION"),
            "ready"
        );
        Ok(())
    }
}

/// Breaks off when the filter's helper does. It cannot be started again from here: the user that it was started by is gone.
async fn watch_filter(house: Arc<House>, mut stop: watch::Receiver<bool>) {
    if let Some(filter) = &house.filter {
        tokio::select! {
            () = filter.ended() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
}

/// Removes what crashes left in `tmp/`.
async fn sweep(house: Arc<House>, mut stop: watch::Receiver<bool>) {
    loop {
        let here = Arc::clone(&house);
        match blocking(move || here.premises.store.sweep(LEFTOVER)).await {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_breaks_off_is_the_end_of_the_server() {
        let mut tasks = JoinSet::new();
        tasks.spawn(std::future::pending());
        tasks.spawn(async { panic!("a fault") });
        let failure = broken(&mut tasks).await;
        assert!(failure.to_string().contains("broke off") && failure.exit == Exit::Software, "{failure}");
    }
}
