//! The owner's filter: a program that judges each stranger's letter, run by a helper process that cannot reach the mail.
//!
//! The helper is this very binary, started before the server becomes its user. For each letter the server makes a pair of
//! sockets and hands one of them to the helper (`SCM_RIGHTS`); nothing lies at a path that a program could connect to.

mod about;
mod children;
pub mod helper;
mod lookup;
mod program;
mod wire;

pub use about::About;

use crate::config;
use crate::error::{Exit, Failure};
use crate::policy::filter::{FilterVerdict, judge};
use crate::store::letter::Spill;
use crate::system::confine::numbers;
use crate::system::threads::blocking;
use crate::system::user;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::Semaphore;
use wire::{Answer, Hello, Request, Setup};

/// Programs that run at once. A letter that waits for its turn does so within the minute that it has.
const AT_ONCE: usize = 4;
/// The longest `inbound.filter_timeout`, in seconds: everything after the final dot has sixty.
const LONGEST: u64 = 55;
/// How long the helper may take to get ready.
const GETTING_READY: Duration = Duration::from_secs(20);
/// How much longer than the program the helper may take for its answer.
const GRACE: Duration = Duration::from_secs(3);
/// Octets of a letter that are handed on at once.
const SLICE: usize = 64 << 10;
/// From this size on a letter's body may lie in a file, and reading it may block.
const MAY_BLOCK: u64 = 64 << 10;

/// A running helper. Dropping it ends the helper, and every program that it runs.
pub struct Filter {
    /// Each octet that is written to it carries the helper's end of a conversation.
    control: UnixStream,
    helper: Arc<Mutex<Child>>,
    turns: Semaphore,
    timeout: Duration,
}

impl Filter {
    /// Starts the helper, where `inbound.filter` names a program. To be called before the process becomes its user and before
    /// it has threads. Blocks until the helper is confined; the failure says what keeps it from that.
    pub fn start(config: &config::Server) -> Result<Option<Filter>, Failure> {
        let rules = &config.inbound;
        if rules.filter.is_empty() {
            return Ok(None);
        }
        let wrong = |text: String| Failure::new(Exit::Config, text);
        if !(1..=LONGEST).contains(&rules.filter_timeout) {
            let text =
                format!("inbound.filter_timeout = {}: want 1 to {LONGEST} seconds", rules.filter_timeout);
            return Err(wrong(text));
        }
        let served_by = user::find(config.user.as_deref())?;
        user::prepare_state_dir(served_by.as_ref(), &config.state_dir)?;
        let setup = Setup {
            command: rules.filter.clone(),
            user: filter_user(&rules.filter_user, served_by.as_ref())?,
            trees: vec![absolute(&config.mail_root)?, absolute(&config.state_dir)?],
            timeout: rules.filter_timeout,
        };
        let (control, helper) = spawn(&setup).map_err(|error| {
            Failure::new(Exit::OsErr, format!("inbound.filter: starting the helper that runs it: {error}"))
        })?;
        let helper = Arc::new(Mutex::new(helper));
        let timeout = Duration::from_secs(rules.filter_timeout);
        let filter = Filter { control, helper, turns: Semaphore::new(AT_ONCE), timeout };
        match filter.hello() {
            Ok(Hello::Ready) => Ok(Some(filter)),
            Ok(Hello::Unable(why)) => Err(wrong(format!("inbound.filter: {why}"))),
            Err(error) => {
                let text = format!("inbound.filter: the helper that runs it did not get ready: {error}");
                Err(Failure::new(Exit::OsErr, text))
            }
        }
    }

    /// Asks the program about a letter: `head` up to and with the empty line, then the body. Never fails: whatever is wrong
    /// with the program or the helper is logged, and puts the letter off. A caller that gives up ends the program.
    pub async fn ask(&self, about: &About, head: &[u8], body: &Spill) -> FilterVerdict {
        let Ok(_turn) = self.turns.acquire().await else {
            return broken(about, "the server ends".into(), "");
        };
        let answer = tokio::time::timeout(self.timeout + GRACE, self.converse(about, head, body)).await;
        let (status, output, said) = match answer {
            Ok(Ok(Answer::Exited { status, output, said })) => (status, output, said),
            Ok(Ok(Answer::Broken { why, said })) => return broken(about, why, &said),
            Ok(Err(error)) => return broken(about, format!("talking to its helper: {error}"), ""),
            Err(_) => return broken(about, "its helper gives no answer".into(), ""),
        };
        match judge(status, &output) {
            Err(why) => broken(about, why, &said),
            Ok(judged) => {
                for why in judged.dropped {
                    tracing::warn!(id = about.id, field = why, "a field of the filter's was left out");
                }
                match &judged.verdict {
                    // What a stranger is not told: where the programs behind it do not run, it is here that it is seen.
                    FilterVerdict::Defer { why } => {
                        tracing::warn!(id = about.id, why, stderr = said, "the filter puts the letter off");
                    }
                    verdict => {
                        let verdict = verdict.word();
                        tracing::info!(id = about.id, verdict, stderr = said, "the filter has judged")
                    }
                }
                judged.verdict
            }
        }
    }

    /// Waits for the helper's end, which is to come after ours. Without it every letter would be put off.
    pub async fn ended(&self) {
        let control = self.control.try_clone().and_then(|control| {
            control.set_nonblocking(true)?;
            tokio::net::UnixStream::from_std(control)
        });
        match control {
            // It says nothing after its greeting.
            Ok(mut control) => drop(control.read(&mut [0]).await),
            Err(error) => tracing::error!(%error, "watching the filter's helper"),
        }
        let helper = Arc::clone(&self.helper);
        let end = blocking(move || helper.lock().unwrap_or_else(PoisonError::into_inner).wait()).await;
        let end = end.map_or_else(|error| error.to_string(), |status| status.to_string());
        tracing::error!(end, "the filter's helper has ended");
    }

    fn hello(&self) -> io::Result<Hello> {
        self.control.set_read_timeout(Some(GETTING_READY))?;
        wire::read_line(&self.control)
    }

    async fn converse(&self, about: &About, head: &[u8], body: &Spill) -> io::Result<Answer> {
        let (ours, theirs) = UnixStream::pair()?;
        self.hand_over(theirs)?;
        ours.set_nonblocking(true)?;
        let mut ours = tokio::net::UnixStream::from_std(ours)?;
        let length = head.len() as u64 + body.len();
        let request = wire::to_line(&Request { environment: about.environment(), length });
        let (reader, mut writer) = ours.split();
        let tell = async {
            // A program need not read to the end, and then the helper does not either: it answers.
            match tell(&mut writer, &[&request, head], body).await {
                Err(error) if !is_closed(&error) => error,
                _ => std::future::pending().await,
            }
        };
        let mut answer = Vec::new();
        // Its line, not its end: what it left unread of the letter makes a reset of that.
        let mut hear = BufReader::new(reader.take(wire::LINE_MAX as u64));
        tokio::select! {
            // The helper hears of it by the end of the conversation, and ends the program.
            error = tell => Err(error),
            heard = hear.read_until(b'\n', &mut answer) => {
                heard?;
                wire::from_line(&answer)
            }
        }
    }

    /// Does not wait: a helper that does not take it is a broken one.
    fn hand_over(&self, end: UnixStream) -> io::Result<()> {
        let ends = [end.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        rights.push(SendAncillaryMessage::ScmRights(&ends));
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        sendmsg(&self.control, &[IoSlice::new(&[0])], &mut rights, flags)?;
        Ok(())
    }
}

/// The other side wants no more of it.
fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Writes the pieces, then the body. Where the body cannot be read the program must not take what it has for the letter.
async fn tell(
    writer: &mut (impl tokio::io::AsyncWrite + Unpin),
    pieces: &[&[u8]],
    body: &Spill,
) -> io::Result<()> {
    for piece in pieces {
        writer.write_all(piece).await?;
    }
    let mut reader = body.reader();
    let mut slice = vec![0; SLICE];
    loop {
        let read = match body.len() > MAY_BLOCK {
            true => tokio::task::block_in_place(|| reader.read(&mut slice)),
            false => reader.read(&mut slice),
        };
        // Not to be taken for a program that does not read on.
        match read.map_err(|error| io::Error::other(format!("reading the letter: {error}")))? {
            0 => return Ok(()),
            octets => writer.write_all(slice.get(..octets).unwrap_or_default()).await?,
        }
    }
}

/// As we mean it: the helper works elsewhere.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::new(Exit::OsErr, format!("inbound.filter: {}: {error}", path.display())))
}

/// Whom the filter runs as, where we are root: neither root, nor who can read the mail.
fn filter_user(name: &str, server: Option<&nix::unistd::User>) -> Result<Option<String>, Failure> {
    if !nix::unistd::getuid().is_root() {
        return Ok(None);
    }
    let wrong = |why: &str| Failure::new(Exit::Config, format!("inbound.filter_user = {name:?}: {why}"));
    let found = nix::unistd::User::from_name(name).map_err(|errno| wrong(&errno.to_string()))?;
    let user = found.ok_or_else(|| wrong(&format!("no such user; `useradd --system {name}` makes it")))?;
    if user.uid.is_root() || server.is_some_and(|server| server.uid == user.uid) {
        return Err(wrong(
            "the filter needs a user who is neither root nor the server's, so that it cannot reach the mail",
        ));
    }
    Ok(Some(user.name))
}

fn spawn(setup: &Setup) -> io::Result<(UnixStream, Child)> {
    let (ours, theirs) = UnixStream::pair()?;
    let kept = ["PATH", "LANG"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut helper = Command::new("/proc/self/exe");
    helper.arg("filter-helper").env_clear().envs(kept).stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
    // Whoever is not root can make such a namespace only within one of users, and the helper does so itself.
    let helper = match setup.user {
        Some(_) => numbers::first_of_its_own(|| helper.spawn())?,
        None => helper.spawn()?,
    };
    io::Write::write_all(&mut &ours, &wire::to_line(setup))?;
    Ok((ours, helper))
}

/// Never a reason to lose a letter.
fn broken(about: &About, why: String, said: &str) -> FilterVerdict {
    tracing::error!(id = about.id, why, stderr = said, "the filter is broken; the letter is put off");
    FilterVerdict::Defer { why: format!("the filter is broken: {why}") }
}
