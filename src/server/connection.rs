//! One connection: the protocol's machine says what to do next, and this loop does it.

use super::allowed::Allowed;
use super::house::House;
use super::parcel::Parcel;
use super::recipients::Transaction;
use super::{mx, replies, submission};
use crate::smtp::Door;
use crate::smtp::reply::Reply;
use crate::smtp::server::{Session, Settings, Step};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::Instant;

/// After the final dot, everything together: checks, look-ups, storing.
const AFTER_THE_DOT: Duration = Duration::from_secs(60);
/// How long a client may refuse to take our replies.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Who is at the other end, and where he came in.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The door.
    pub door: Door,
    /// The address; none on the Unix socket.
    pub ip: Option<IpAddr>,
    /// What the ssh key behind the Unix socket may send as; none: not by ssh.
    pub allowed: Option<Allowed>,
}

/// Drives one connection to its end. Faults of the stream end it quietly: what was answered 250 is durable, and of
/// the rest the client knows.
pub async fn drive<S>(stream: &mut S, peer: Peer, house: Arc<House>, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = &house.config().limits;
    let mut session = Session::new(Settings {
        // As DNS has it: replies are ASCII (RFC 6531 section 3.7.1).
        hostname: house.premises.name.to_string(),
        door: peer.door,
        message_size: limits.message_size,
        recipients: limits.recipients,
        command_timeout: Duration::from_secs(limits.command_timeout),
    });
    let mut transaction = Transaction::new(Arc::clone(&house.premises), peer);
    let mut parcel: Option<Parcel> = None;
    let mut buffer = Vec::new();
    let mut due = Instant::now();
    loop {
        match session.step() {
            Step::Read => {
                let output = session.take_output();
                if send(stream, &output).await.is_err() {
                    return;
                }
                // Octets that end no command do not move it: a line that drips for ever ends.
                if !output.is_empty() || parcel.is_some() {
                    due = Instant::now() + session.timeout();
                }
                match receive(stream, &mut buffer, due, &mut stop, parcel.is_some()).await {
                    Input::Bytes => session.feed(&buffer),
                    Input::Stop => session.abort(replies::shutting_down()),
                    Input::TimedOut => session.abort(replies::timed_out()),
                    Input::Gone => return,
                }
            }
            Step::Mail(sender) => {
                let sender = sender.clone();
                session.answer(transaction.mail(sender).await);
            }
            Step::Rcpt(recipient) => {
                let recipient = recipient.clone();
                let helo = session.greeted_as().map_or_else(String::new, |(name, _)| name.to_owned());
                session.answer(transaction.rcpt(recipient, &helo).await);
            }
            Step::Data => {
                parcel = Some(Parcel::new(Arc::clone(&house.premises), house.desk.clone()));
                session.answer(replies::start_data());
            }
            Step::Body(slice) => {
                if let Some(parcel) = &mut parcel {
                    parcel.body(slice, &transaction).await;
                }
            }
            Step::EndOfData(facts) => {
                let greeting = session.greeted_as().map(|(name, esmtp)| (name.to_owned(), esmtp));
                let done = transaction.finish(greeting, facts);
                let reply = match parcel.take() {
                    Some(parcel) => accept(&house, parcel, done).await,
                    None => replies::broken(),
                };
                session.answer(reply);
            }
            Step::Reset => {
                if parcel.take().is_some() {
                    transaction.log_unfit();
                }
                transaction.reset();
            }
            Step::Close => {
                let _ = send(stream, &session.take_output()).await;
                let _ = tokio::time::timeout(WRITE_TIMEOUT, stream.shutdown()).await;
                return;
            }
        }
    }
}

/// Judges and stores a letter that is whole, within its minute.
async fn accept(house: &Arc<House>, parcel: Parcel, envelope: super::recipients::Finished) -> Reply {
    let work = async {
        match envelope.peer.door {
            Door::Mx => mx::accept(house, parcel, envelope).await,
            Door::Submission => submission::accept(house, parcel, envelope).await,
        }
    };
    tokio::time::timeout(AFTER_THE_DOT, work).await.unwrap_or_else(|_| replies::too_slow())
}

/// What came of waiting for the client.
enum Input {
    Bytes,
    Stop,
    TimedOut,
    Gone,
}

/// Reads into `buffer`. A message in flight is finished when the server is told to stop.
async fn receive<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
    due: Instant,
    stop: &mut watch::Receiver<bool>,
    in_message: bool,
) -> Input {
    // Small for commands, large once a message flows: an idle connection costs 1 KiB.
    let size = if in_message { 64 << 10 } else { 1 << 10 };
    if buffer.capacity() > size {
        *buffer = Vec::new();
    }
    buffer.clear();
    buffer.reserve_exact(size);
    tokio::select! {
        biased;
        read = tokio::time::timeout_at(due, stream.read_buf(buffer)) => match read {
            Ok(Ok(1..)) => Input::Bytes,
            Ok(_) => Input::Gone,
            Err(_) => Input::TimedOut,
        },
        _ = stop.wait_for(|stop| *stop), if !in_message => Input::Stop,
    }
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, output: &[u8]) -> io::Result<()> {
    if output.is_empty() {
        return Ok(());
    }
    let write = async {
        stream.write_all(output).await?;
        stream.flush().await
    };
    tokio::time::timeout(WRITE_TIMEOUT, write).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
