//! One run of the filter's program: the letter in, its output and exit status out, and an end in any case.

use super::children::{Children, Ours};
use super::lookup::search_path;
use super::wire::{Answer, Request, Setup};
use crate::policy::filter::{OUTPUT_MAX, sentence};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Octets of standard error that are kept: its beginning.
const FIRST_WORDS: usize = 4096;
/// How long the pipes may stay open after the program has ended; a process that left the group may hold them for ever.
const ECHO: Duration = Duration::from_millis(200);
/// Octets of the letter that are handed on at once.
const SLICE: usize = 64 << 10;

/// Runs the program with what `letter` goes on with on its stdin; `None` when the server has gone meanwhile, which `gone`
/// tells also while the program does not read. In the end nothing of its process group is left.
pub async fn run(
    (setup, children): (&Setup, &Arc<Children>),
    request: &Request,
    letter: &mut (impl AsyncRead + Unpin),
    gone: impl Future,
) -> Option<Answer> {
    let mut running = match Running::start(setup, children, request) {
        Ok(running) => running,
        Err(why) => return Some(Answer::Broken { why, said: String::new() }),
    };
    let stdin = running.child.stdin.take();
    let how = tokio::select! {
        _ = &mut running.ended => How::Ended,
        () = running.output.too_much() => How::TooMuch,
        () = sleep(Duration::from_secs(setup.timeout)) => How::TimedOut,
        _ = gone => return None,
        // It holds the pipe until it is over itself: the program must not take a piece for the letter.
        () = feed(letter, stdin, request.length) => return None,
    };
    Some(running.answer(how, setup.timeout).await)
}

enum How {
    Ended,
    TooMuch,
    TimedOut,
}

struct Running {
    /// Dropped before `child`, which would be reaped then: until that its number cannot be another's.
    group: Group,
    child: Child,
    /// Done when the program has ended, and is not reaped yet.
    ended: JoinHandle<()>,
    output: Kept,
    errors: Kept,
    /// Dropped last: until then nobody else waits for it.
    _ours: Ours,
}

impl Running {
    fn start(setup: &Setup, children: &Arc<Children>, request: &Request) -> Result<Running, String> {
        let (program, arguments) = setup.command.split_first().ok_or("no program is named")?;
        let failed = |error: io::Error| format!("cannot run {program}: {error}");
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", search_path())
            .env("LANG", std::env::var_os("LANG").unwrap_or("C.UTF-8".into()))
            .env("HOME", "/")
            .envs(request.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let none = || failed(io::Error::other("no process"));
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).ok_or_else(none)?;
        let (group, ours) = (Group(pid), children.of_ours(pid));
        let (output, errors) = (child.stdout.take().ok_or_else(none)?, child.stderr.take().ok_or_else(none)?);
        let ended = tokio::task::spawn_blocking(move || {
            // Fails where it is no child of ours any more, which is an end as well.
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        });
        let (output, errors) = (Kept::of(output, OUTPUT_MAX), Kept::of(errors, FIRST_WORDS));
        Ok(Running { group, child, ended, output, errors, _ours: ours })
    }

    async fn answer(mut self, how: How, seconds: u64) -> Answer {
        // Before the program is reaped: until then its number is its own.
        drop(self.group);
        let status = self.child.wait().await;
        let output = self.output.all().await;
        let said = sentence(&self.errors.all().await).unwrap_or_default();
        let broken = |why: String| Answer::Broken { why, said: said.clone() };
        match (how, status) {
            (How::TimedOut, _) => broken(format!("it did not end within {seconds} seconds and was killed")),
            (_, Err(error)) => broken(error.to_string()),
            _ if output.len() > OUTPUT_MAX => {
                broken(format!("it wrote more than {} KiB on its standard output", OUTPUT_MAX / 1024))
            }
            (_, Ok(status)) => match status.code() {
                Some(status) => Answer::Exited { status, output, said },
                None => broken(format!("it was ended by signal {}", status.signal().unwrap_or_default())),
            },
        }
    }
}

/// The program and what it started, killed when this is dropped.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        // There may be nobody left.
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}

/// Hands the letter on, then waits for the server to go away, which is the only way for this to be over. A program that
/// does not read to the end is none of its concern.
async fn feed(letter: &mut (impl AsyncRead + Unpin), stdin: Option<ChildStdin>, mut left: u64) {
    let mut stdin = stdin;
    let mut slice = vec![0; SLICE];
    loop {
        if left == 0 {
            stdin = None;
        }
        let octets = match letter.read(&mut slice).await {
            Ok(octets @ 1..) => octets,
            Ok(0) | Err(_) => return,
        };
        left = left.saturating_sub(octets as u64);
        if let Some(pipe) = &mut stdin
            && pipe.write_all(slice.get(..octets).unwrap_or_default()).await.is_err()
        {
            stdin = None;
        }
    }
}

/// What is read from a pipe of the program: the beginning is kept, and the rest read and dropped.
struct Kept {
    words: Arc<Mutex<Vec<u8>>>,
    too_much: Arc<Notify>,
    reader: JoinHandle<()>,
}

impl Kept {
    /// Keeps one octet more than `limit`, which shows that there were too many.
    fn of(mut pipe: impl AsyncRead + Unpin + Send + 'static, limit: usize) -> Kept {
        let (words, too_much) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let (kept, notify) = (Arc::clone(&words), Arc::clone(&too_much));
        let reader = tokio::spawn(async move {
            let mut slice = [0; 4096];
            while let Ok(octets @ 1..) = pipe.read(&mut slice).await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let room = (limit + 1).saturating_sub(kept.len()).min(octets);
                kept.extend_from_slice(slice.get(..room).unwrap_or_default());
                if kept.len() > limit {
                    notify.notify_one();
                }
            }
        });
        Kept { words, too_much, reader }
    }

    async fn too_much(&self) {
        self.too_much.notified().await;
    }

    /// All that was kept; to be called when the program has ended.
    async fn all(&mut self) -> Vec<u8> {
        let _ = timeout(ECHO, &mut self.reader).await;
        std::mem::take(&mut *self.words.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixStream;

    #[tokio::test]
    async fn a_program_that_does_not_read_is_ended_when_the_server_gives_up() {
        let command = ["sleep", "1000"].map(str::to_owned).to_vec();
        let setup = Setup { command, user: None, trees: Vec::new(), timeout: 1000 };
        let request = Request { environment: Vec::new(), length: 1 << 30 };
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let (children, (mut letter, answer)) = (Arc::default(), theirs.split());
        let run =
            run((&setup, &children), &request, &mut letter, answer.ready(tokio::io::Interest::PRIORITY));
        let give_up = async {
            // Until nobody takes any more.
            while timeout(Duration::from_millis(300), ours.write_all(&[0; 4096])).await.is_ok() {}
            drop(ours);
            std::future::pending::<()>().await
        };
        tokio::select! {
            answer = run => assert!(answer.is_none()),
            () = give_up => {}
            () = sleep(Duration::from_secs(20)) => panic!("it runs on"),
        }
    }
}
