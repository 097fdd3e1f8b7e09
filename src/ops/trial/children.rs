//! Child processes of this very program: servers that stay, and commands that end.

use crate::error::{Exit, Failure};
use serde::Deserialize;
use std::ffi::OsStr;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

/// How long a child may take until it is ready, and how long to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(10);

/// `state_dir/listening.json`: where a server listens. It is written when everything is bound and ready.
#[derive(Clone, Debug, Deserialize)]
pub struct Listening {
    /// Strangers' door.
    pub mx: Vec<SocketAddr>,
    /// The owner's door.
    pub submission: Vec<SocketAddr>,
    /// The owner's door to the world, if there is one.
    #[serde(default)]
    pub submissions: Vec<SocketAddr>,
    /// The gate's socket.
    pub socket: PathBuf,
    /// The socket for orders to the queue.
    pub control: PathBuf,
    /// Whose file this is; a server that is gone may have left one.
    pub pid: u32,
}

/// A server that was started.
pub struct Server {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `program arguments…` with its stderr in `log`. It is no member of our process group, so that a Ctrl-C on
    /// the terminal reaches us alone and we end it in order.
    pub fn start<S: AsRef<OsStr>>(
        name: &'static str,
        program: &Path,
        arguments: &[S],
        log: PathBuf,
    ) -> Result<Server, Failure> {
        let cannot = |error: std::io::Error| Failure::new(Exit::OsErr, format!("{name}: {error}"));
        let stderr = File::create(&log).map_err(cannot)?;
        let child = command(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .process_group(0)
            .spawn()
            .map_err(cannot)?;
        Ok(Server { name, child, log })
    }

    /// The first line that it prints.
    pub async fn first_line(&mut self) -> Result<String, Failure> {
        let Some(stdout) = self.child.stdout.take() else { return Err(self.failure("prints nothing")) };
        let mut line = String::new();
        match tokio::time::timeout(PATIENCE, BufReader::new(stdout).read_line(&mut line)).await {
            Ok(Ok(n)) if n > 0 => Ok(line.trim_end().to_owned()),
            _ => Err(self.failure("did not say that it is ready")),
        }
    }

    /// Waits until its `listening.json` is there, and really its own.
    pub async fn listening(&mut self, state_dir: &Path) -> Result<Listening, Failure> {
        let file = state_dir.join("listening.json");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found =
                std::fs::read(&file).ok().and_then(|text| serde_json::from_slice::<Listening>(&text).ok());
            if let Some(found) = found.filter(|found| Some(found.pid) == self.child.id()) {
                return Ok(found);
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.failure(&format!("ended ({status})")));
            }
            if Instant::now() > deadline {
                return Err(self.failure("did not become ready"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Asks it to end, and makes it end. Never fails: there is nothing that the caller could do.
    pub async fn stop(&mut self) {
        if let Some(pid) = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if tokio::time::timeout(Duration::from_secs(2), self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }

    /// What went wrong, with the end of its log.
    fn failure(&self, what: &str) -> Failure {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let end: Vec<&str> = log.lines().rev().take(3).collect();
        let said = end.into_iter().rev().collect::<Vec<_>>().join(" / ");
        let said =
            if said.is_empty() { "it logged nothing".to_owned() } else { format!("it logged: {said}") };
        Failure::new(Exit::Software, format!("{} {what}; {said}", self.name))
    }
}

/// Runs a command to its end and returns what it printed.
pub async fn run<S: AsRef<OsStr>>(program: &Path, arguments: &[S], input: &[u8]) -> Result<String, Failure> {
    let words: Vec<_> = arguments.iter().map(|argument| argument.as_ref().to_string_lossy()).collect();
    let line = words.join(" ");
    let cannot = |error: std::io::Error| Failure::new(Exit::OsErr, format!("{line}: {error}"));
    let mut child = command(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that needs no input may have closed it; its exit status tells.
        let _ = stdin.write_all(input).await;
    }
    let output = child.wait_with_output().await.map_err(cannot)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim_end().replace('\n', " / ");
    Err(Failure::new(Exit::Software, format!("`{line}` failed ({}): {said}", output.status)))
}

/// The program, with no configuration but what its arguments say.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_remove("PILLARBOX_CONFIG").kill_on_drop(true);
    command
}
