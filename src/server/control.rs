//! The socket by which a running server takes orders: for its queue, and for its certificates. Whoever may connect (its mode is 0600) may order anything.

use super::budget::Budget;
use super::doors::keep_open;
use super::shield::shielded;
use crate::certs::orders::Renewals;
use crate::queue::select::Selection;
use crate::relay::orders::Control;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use wire::{Answer, MAX_REQUEST, Request};

pub mod ask;
#[cfg(test)]
mod tests;
mod wire;

/// Connections at once.
const CONNECTIONS: usize = 8;
/// How long a request may take to arrive.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the other side may take to accept more of an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is said that an order is still being carried out. An authority may take minutes; whoever waits must know that we live.
const STILL_WORKING: Duration = Duration::from_secs(20);
/// Octets of an answer that are written at once.
const PIECE: usize = 64 << 10;

/// The socket of the server that has this `state_dir`.
pub fn socket_in(state_dir: &Path) -> PathBuf {
    state_dir.join("control.sock")
}

/// Whom orders are passed on to.
#[derive(Clone)]
pub(super) struct Hands {
    /// The queue's.
    pub(super) queue: Control,
    /// The certificates'.
    pub(super) certificates: Renewals,
}

/// Takes orders until `stop`, then finishes what is in hand.
pub(super) fn serve(
    listener: UnixListener,
    hands: Hands,
    stop: watch::Receiver<bool>,
) -> impl Future<Output = ()> + Send + 'static {
    let budget = Budget::new(CONNECTIONS, CONNECTIONS);
    let accept = move |context: &mut std::task::Context<'_>| listener.poll_accept(context);
    keep_open(
        accept,
        stop,
        || false,
        move |(stream, _)| {
            let (place, hands) = (budget.enter(None), hands.clone());
            async move {
                let busy = place.is_err();
                match shielded(converse(stream, &hands, busy)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::info!(%error, "the control socket"),
                    Err(panic) => tracing::error!(panic, "a fault at the control socket"),
                }
                drop(place);
            }
        },
    )
}

async fn converse(mut stream: UnixStream, hands: &Hands, busy: bool) -> std::io::Result<()> {
    let answers = match busy {
        true => vec![Answer::Fault("too many at once; try again in a moment".into())],
        false => match tokio::time::timeout(REQUEST_TIMEOUT, read(&mut stream)).await {
            Ok(Ok(Request::Renew)) => renew(&mut stream, &hands.certificates, STILL_WORKING).await?,
            Ok(Ok(request)) => carry_out(&hands.queue, request).await,
            Ok(Err(fault)) => vec![Answer::Fault(fault)],
            Err(_) => vec![Answer::Fault("no request came".into())],
        },
    };
    let mut piece = Vec::with_capacity(PIECE);
    for answer in answers {
        piece.extend(answer.to_line());
        if piece.len() >= PIECE {
            write(&mut stream, &piece).await?;
            piece.clear();
        }
    }
    write(&mut stream, &piece).await?;
    stream.shutdown().await
}

/// Has certificates renewed, however long that takes, and says each `pace` that it goes on.
async fn renew(
    stream: &mut UnixStream,
    certificates: &Renewals,
    pace: Duration,
) -> std::io::Result<Vec<Answer>> {
    tracing::info!("an order for the certificates");
    let mut renewing = std::pin::pin!(certificates.renew());
    loop {
        match tokio::time::timeout(pace, &mut renewing).await {
            Ok(Some(outcomes)) => {
                return Ok(outcomes.into_iter().map(Answer::Renewed).chain([Answer::End]).collect());
            }
            Ok(None) => {
                let fault =
                    "the server is stopping, or has several such orders already; try again in a moment";
                return Ok(vec![Answer::Fault(fault.into())]);
            }
            Err(_) => write(stream, &Answer::Working.to_line()).await?,
        }
    }
}

/// One line. What follows it is not read.
async fn read(stream: &mut UnixStream) -> Result<Request, String> {
    let mut line = Vec::new();
    let mut limited = BufReader::new(stream.take(MAX_REQUEST as u64));
    limited.read_until(b'\n', &mut line).await.map_err(|error| error.to_string())?;
    Request::parse(&line)
}

async fn carry_out(control: &Control, request: Request) -> Vec<Answer> {
    match request {
        Request::Destinations => {
            let destinations = control.destinations().await;
            destinations.into_iter().map(Answer::Destination).chain([Answer::End]).collect()
        }
        // Answered piece by piece, elsewhere.
        Request::Renew => vec![Answer::Fault("this is no order for the queue".into())],
        Request::Order { order, words } => {
            let selection = match Selection::parse(&words) {
                Ok(selection) => selection,
                Err(fault) => return vec![Answer::Fault(fault)],
            };
            tracing::info!(?order, words = words.join(" "), "an order for the queue");
            match control.order(order, selection).await {
                Ok(done) => done.into_iter().map(Answer::Done).chain([Answer::End]).collect(),
                Err(fault) => vec![Answer::Fault(fault)],
            }
        }
    }
}

async fn write(stream: &mut UnixStream, bytes: &[u8]) -> std::io::Result<()> {
    match tokio::time::timeout(ANSWER_TIMEOUT, stream.write_all(bytes)).await {
        Ok(written) => written,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}
