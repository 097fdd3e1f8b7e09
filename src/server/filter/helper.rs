//! `pillarbox filter-helper`: the process that runs the owner's filter. It has no way to the mail, and ends with the server.

use super::children::Children;
use super::wire::{Answer, Hello, LINE_MAX, Request, Setup, from_line, read_line, to_line};
use super::{lookup, program};
use crate::error::{Exit, Failure};
use crate::system::confine::keep_out_of;
use nix::unistd::{User, close};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{DumpableBehavior, set_dumpable_behavior, setsid, umask};
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::signal::unix::{SignalKind, signal};

/// Serves the server that started it, by its standard input, until that ends. `inside`: what it is there for, where the
/// process that started this one is the helper, and confined.
pub fn run(inside: Option<&str>) -> Result<(), Failure> {
    close_inherited().map_err(os)?;
    let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().map_err(os)?);
    if let Some(setup) = inside {
        return begin(control, from_line(setup.as_bytes()).map_err(os)?);
    }
    let setup: Setup = read_line(&control).map_err(|_| {
        Failure::new(
            Exit::Usage,
            "filter-helper is started by `pillarbox serve`, where inbound.filter is set",
        )
    })?;
    match confine(&setup) {
        Err(why) => (&control).write_all(&to_line(&Hello::Unable(why))).map_err(os),
        Ok(()) if setup.user.is_none() => {
            drop(control);
            again(&setup)
        }
        Ok(()) => begin(control, setup),
    }
}

fn os(error: io::Error) -> Failure {
    Failure::new(Exit::OsErr, format!("the filter's helper: {error}"))
}

/// A process does not enter the namespace of numbers that it made: its first child does, and when that ends, so does
/// all that is within.
fn again(setup: &Setup) -> Result<(), Failure> {
    // It holds the server's socket, and in its namespace it has every capability.
    untraceable()?;
    let setup = to_line(setup);
    let mut command = std::process::Command::new("/proc/self/exe");
    command.args(["filter-helper", "--inside"]).arg(String::from_utf8_lossy(&setup).trim_end());
    let status = command.status().map_err(os)?;
    match status.success() {
        true => Ok(()),
        false => Err(os(io::Error::other(format!("{status}")))),
    }
}

fn begin(control: UnixStream, setup: Setup) -> Result<(), Failure> {
    // The programs are of the same user and as confined, but letters of others pass through this process.
    untraceable()?;
    // Not before it is confined: Landlock holds for the threads that begin after it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(os)?;
    let outcome = runtime.block_on(serve(control, Arc::new(setup))).map_err(os);
    // This drops the conversations, and they kill their programs.
    runtime.shutdown_background();
    outcome
}

fn untraceable() -> Result<(), Failure> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|errno| os(errno.into()))
}

/// What the server's own parent left open for it is not for a filter.
fn close_inherited() -> io::Result<()> {
    let names = std::fs::read_dir("/proc/self/fd")?.map(|entry| entry.map(|entry| entry.file_name()));
    let names: Vec<_> = names.collect::<io::Result<_>>()?;
    for number in names.iter().filter_map(|name| name.to_str()?.parse::<i32>().ok()).filter(|fd| *fd > 2) {
        // The one that listed them is closed already.
        let _ = close(number);
    }
    Ok(())
}

fn confine(setup: &Setup) -> Result<(), String> {
    // A session of its own: what a terminal tells the server is not told to the letters in hand.
    setsid().map_err(|errno| format!("a session for the helper: {errno}"))?;
    umask(rustix::fs::Mode::from_raw_mode(0o077));
    std::env::set_current_dir("/").map_err(|error| format!("/: {error}"))?;
    let user = match &setup.user {
        None => None,
        Some(name) => {
            let found = User::from_name(name).map_err(|errno| format!("user {name}: {errno}"))?;
            Some(found.ok_or_else(|| format!("no such user: {name}"))?)
        }
    };
    keep_out_of(&setup.trees, user.as_ref())?;
    // As a program would be, once this process has no more rights than that.
    lookup::check(setup)
}

async fn serve(control: UnixStream, setup: Arc<Setup>) -> io::Result<()> {
    // systemd tells all of a service to end at once. The server finishes its letters, and needs us until then.
    let _deaf = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()]
        .map(signal)
        .into_iter()
        .collect::<io::Result<Vec<_>>>()?;
    let (children, mut child) = (Arc::new(Children::default()), signal(SignalKind::child())?);
    let orphans = Arc::clone(&children);
    tokio::spawn(async move {
        while child.recv().await.is_some() {
            orphans.bury();
        }
    });
    (&control).write_all(&to_line(&Hello::Ready))?;
    control.set_nonblocking(true)?;
    let control = tokio::net::UnixStream::from_std(control)?;
    while let Some(end) = control.async_io(Interest::READABLE, || receive(&control)).await? {
        let (setup, children) = (Arc::clone(&setup), Arc::clone(&children));
        tokio::spawn(async move {
            // The server notes whatever goes wrong between us, and so need not we.
            let _ = attend(end, (&setup, &children)).await;
        });
    }
    Ok(())
}

/// The helper's end of a conversation; `None` when the server has ended.
fn receive(control: &tokio::net::UnixStream) -> io::Result<Option<UnixStream>> {
    let mut octet = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(control, &mut [IoSliceMut::new(&mut octet)], &mut rights, flags)?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let end: Option<OwnedFd> = rights.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut ends) => ends.next(),
        _ => None,
    });
    end.map(|end| Some(UnixStream::from(end)))
        .ok_or_else(|| io::Error::other("an octet came without a socket"))
}

async fn attend(end: UnixStream, of: (&Setup, &Arc<Children>)) -> io::Result<()> {
    end.set_nonblocking(true)?;
    let mut end = tokio::net::UnixStream::from_std(end)?;
    let (reader, mut writer) = end.split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    (&mut reader).take(LINE_MAX as u64).read_until(b'\n', &mut line).await?;
    let request: Request = from_line(&line)?;
    // It never waits for priority, but for the other side's end, whatever of the letter still lies before that.
    let gone = writer.ready(Interest::PRIORITY);
    let ended: Option<Answer> = program::run(of, &request, &mut reader, gone).await;
    match ended {
        Some(answer) => writer.write_all(&to_line(&answer)).await,
        None => Ok(()),
    }
}
