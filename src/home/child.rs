//! The way to a server: a command whose stdin and stdout are the gate.

use crate::config::{self, Via};
use crate::error::{Exit, Failure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a server may be silent. Long enough for somebody to answer ssh's questions.
const PATIENCE: Duration = Duration::from_secs(300);
const PIPE: usize = 1 << 20;

/// A server and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub name: String,
    command: Vec<String>,
}

/// What a server is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// The letters that wait there.
    Export,
    /// The letters that it could not deliver yet.
    Queue,
}

/// The servers of the configuration, with the command for this verb.
pub(super) fn servers(config: &config::Home, verb: Verb) -> Result<Vec<Server>, Failure> {
    let (via, key, word) = match verb {
        Verb::Export => (&config.pull_via, "pull_via", "export"),
        Verb::Queue => (&config.queue_via, "queue_via", "queue"),
    };
    let wrong = |text: &str| Err(Failure::new(Exit::Config, text));
    let Via::Command(template) = via else {
        return wrong(&format!(
            "{key}: want a command, such as [\"ssh\", \"{{server}}\", \"pillarbox\", \"gate\", \"{word}\"]"
        ));
    };
    if template.first().is_none_or(|program| program.is_empty()) {
        return wrong(&format!("{key}: the command is empty"));
    }
    let fill = |server: &String| {
        let command = template.iter().map(|word| word.replace("{server}", server)).collect();
        Server { name: server.clone(), command }
    };
    if !config.server.is_empty() {
        return Ok(config.server.iter().map(fill).collect());
    }
    match template.iter().any(|word| word.contains("{server}")) {
        true => wrong(config::NO_SERVER),
        false => Ok(vec![fill(&"the server".into())]),
    }
}

/// The running command.
#[derive(Debug)]
pub(super) struct Gate {
    child: Child,
    command: String,
}

impl Gate {
    /// Starts it. Its stderr is ours, so that ssh and the gate speak to the user directly.
    pub fn start(server: &Server) -> Result<(Gate, Patient, File), Failure> {
        let command = server.command.join(" ");
        let (program, arguments) =
            server.command.split_first().ok_or_else(|| Failure::new(Exit::Config, "the command is empty"))?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::new(Exit::TempFail, format!("{}: {program}: {error}", server.name)))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let gate = Gate { child, command };
        let (stdin, stdout) =
            pipes.ok_or_else(|| Failure::new(Exit::Software, "the command has no pipes"))?;
        let (stdin, stdout) = (OwnedFd::from(stdin), OwnedFd::from(stdout));
        for pipe in [&stdin, &stdout] {
            // Only a matter of speed.
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE);
        }
        Ok((gate, Patient::new(stdout.into()), stdin.into()))
    }

    /// What is known of a gate that said nothing of use: how it ended, if it does within a second.
    pub fn epitaph(&mut self) -> String {
        let ended = rustix::process::pidfd_open(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::PidfdFlags::empty(),
        )
        .and_then(|child| {
            let second = Timespec { tv_sec: 1, tv_nsec: 0 };
            poll(&mut [PollFd::new(&child, PollFlags::IN)], Some(&second))
        });
        match (ended, self.child.try_wait()) {
            (Ok(1..), Ok(Some(status))) => format!("`{}` ended with {status}", self.command),
            _ => format!("`{}` is what was run", self.command),
        }
    }

    /// Ends it now. After a good session it is left alone: it has nothing more to do, and an ssh that others share
    /// their connection with (ControlMaster) lives on for them.
    pub fn kill(mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A stream that gives up on a silent other side.
#[derive(Debug)]
pub(super) struct Patient {
    stream: File,
}

impl Patient {
    fn new(stream: File) -> Patient {
        Patient { stream }
    }
}

impl Read for Patient {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        match poll(&mut [PollFd::new(&self.stream, PollFlags::IN)], Some(&patience)) {
            Ok(0) => {
                let text = format!("nothing was heard for {} seconds", PATIENCE.as_secs());
                Err(io::Error::new(io::ErrorKind::TimedOut, text))
            }
            Ok(_) => self.stream.read(into),
            Err(error) => Err(error.into()),
        }
    }
}
