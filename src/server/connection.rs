//! One connection: the protocol's machine says what to do next, and this loop does it.

use super::allowed::Allowed;
use super::budget::Place;
use super::hearing::{Hearing, Input};
use super::house::House;
use super::limits::watch::Client;
use super::parcel::Parcel;
use super::recipients::Transaction;
use super::stream::Stream;
use super::{mx, replies, submission};
use crate::smtp::Door;
use crate::smtp::reply::Reply;
use crate::smtp::server::{Session, Settings, Step};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

/// After the final dot, everything together: checks, look-ups, storing.
pub(super) const AFTER_THE_DOT: Duration = Duration::from_secs(60);
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
    /// Whether he came to the owner's door from anywhere in the world: a stranger until his letter proves otherwise.
    pub afar: bool,
}

/// Who has come: with a place, and as one of whom something may be known.
pub struct Guest {
    /// Who.
    pub peer: Peer,
    /// His place in the budget; somebody else may be given it while he waits.
    pub place: Place,
    /// What is known of where he comes from.
    pub client: Client,
}

/// Drives one connection to its end. Faults of the stream end it quietly: what was answered 250 is durable, and of
/// the rest the client knows.
pub async fn drive<S>(
    stream: &mut Stream<S>,
    guest: Guest,
    house: Arc<House>,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + AsFd + Unpin,
{
    let Guest { peer, place, client } = guest;
    let limits = &house.config().limits;
    let mut transaction = Transaction::of(Arc::clone(&house.premises), peer, &client);
    let mut hearing = Hearing::new(place, client, limits);
    if stream.is_to_be_secured() && !secure(stream, &mut transaction, &mut hearing, &mut stop).await {
        return;
    }
    let mut session = Session::new(Settings {
        // As DNS has it: replies are ASCII (RFC 6531 section 3.7.1).
        hostname: house.premises.name.to_string(),
        door: transaction.peer.door,
        message_size: limits.message_size,
        recipients: limits.recipients,
        command_timeout: Duration::from_secs(limits.command_timeout),
        tls: stream.tls(),
    });
    match hearing.before_greeting(stream, &mut stop).await {
        None | Some(Input::Bytes) => {}
        Some(Input::Gone) => return stream.part().await,
        Some(Input::End(reply)) => {
            // In place of the greeting.
            session.take_output();
            session.abort(reply);
        }
    }
    let mut parcel: Option<Parcel> = None;
    loop {
        match session.step() {
            Step::Read => {
                let output = session.take_output();
                if !say(stream, &output, &mut hearing, &mut stop).await {
                    return;
                }
                match hearing.listen(stream, &session, !output.is_empty(), &mut stop).await {
                    Input::Bytes => session.feed(hearing.heard()),
                    Input::End(reply) => session.abort(reply),
                    Input::Gone => return stream.part().await,
                }
            }
            Step::Mail(sender) => {
                let sender = sender.clone();
                let reply = match hearing.may_begin() {
                    Ok(()) => transaction.mail(sender).await,
                    Err(reply) => reply,
                };
                session.answer(reply);
            }
            Step::Rcpt(recipient) => {
                let recipient = recipient.clone();
                let helo = session.greeted_as().map_or_else(String::new, |(name, _)| name.to_owned());
                let reply = match hearing.may_name() {
                    Ok(()) => hearing.meanwhile(transaction.rcpt(recipient, &helo), &mut stop).await,
                    Err(reply) => Ok(reply),
                };
                let (reply, mut ended) = match reply {
                    Ok(reply) => (reply, None),
                    Err(end) => (end.clone(), Some(end)),
                };
                let delay = hearing.recipient(&reply);
                if !delay.is_zero() {
                    // What was answered before must not wait with it.
                    if let Err(error) = send(stream, &session.take_output()).await {
                        return hearing.deaf(&error);
                    }
                    ended = hearing.hold(delay, &mut stop).await;
                }
                match ended {
                    None => session.answer(reply),
                    Some(end) => session.abort(end),
                }
            }
            Step::StartTls => {
                if !say(stream, &session.take_output(), &mut hearing, &mut stop).await
                    || !secure(stream, &mut transaction, &mut hearing, &mut stop).await
                {
                    return;
                }
                session.secured();
            }
            Step::Data => {
                parcel = Some(Parcel::new(Arc::clone(&house.premises), house.desk.clone()));
                hearing.message_begins();
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
                    // In a box: an idle connection does not carry the room for what happens here.
                    Some(parcel) => Box::pin(accept(&house, parcel, done, (&mut hearing, &mut stop))).await,
                    None => replies::broken(),
                };
                hearing.message_ends(reply.is_positive());
                session.answer(reply);
            }
            Step::Reset => {
                if parcel.take().is_some() {
                    hearing.message_ends(false);
                    transaction.log_unfit();
                }
                transaction.reset();
            }
            Step::Close => {
                hearing.ended(session.farewell());
                let _ = send(stream, &session.take_output()).await;
                let _ = tokio::time::timeout(WRITE_TIMEOUT, stream.shutdown()).await;
                return hearing.linger(stream, &mut stop).await;
            }
        }
    }
}

/// Sends what is to be said; false: there is nobody to go on with.
async fn say<S: AsyncWrite + Unpin>(
    stream: &mut S,
    output: &[u8],
    hearing: &mut Hearing,
    stop: &mut watch::Receiver<bool>,
) -> bool {
    match hearing.meanwhile(send(stream, output), stop).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => hearing.deaf(&error),
        Err(end) => hearing.ended(Some(&end)),
    }
    false
}

/// Goes on under TLS; false: there is nobody to go on with, and nothing that could be said to him.
async fn secure<S: AsyncRead + AsyncWrite + AsFd + Unpin>(
    stream: &mut Stream<S>,
    transaction: &mut Transaction,
    hearing: &mut Hearing,
    stop: &mut watch::Receiver<bool>,
) -> bool {
    // In a box: whoever stays in clear does not carry the room for a handshake.
    match hearing.handshake(Box::pin(stream.secure()), stop).await {
        Some(agreed) => {
            transaction.tls = Some(agreed);
            true
        }
        None => false,
    }
}

/// Judges and stores a letter that is whole, within its minute.
async fn accept(
    house: &Arc<House>,
    parcel: Parcel,
    envelope: super::recipients::Finished,
    meanwhile: (&mut Hearing, &mut watch::Receiver<bool>),
) -> Reply {
    let id = house.new_id();
    let (door, peer) = (envelope.peer.door, envelope.peer.ip.map(|ip| ip.to_string()));
    let work = async {
        match door {
            Door::Mx => mx::accept(house, &id, parcel, envelope, meanwhile).await,
            Door::Submission => submission::accept(house, &id, parcel, envelope).await,
        }
    };
    tokio::time::timeout(AFTER_THE_DOT, work).await.unwrap_or_else(|_| {
        let reply = replies::too_slow();
        tracing::warn!(id, ?door, peer, code = reply.code, reason = reply.text, "deferred");
        reply
    })
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
