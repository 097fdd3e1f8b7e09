//! A child process as a stream.

use super::TransportError;
use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How much of a child's stderr is kept: its end.
const LAST_WORDS: usize = 4096;

/// How long stderr may stay open after the child has ended: a process that it left behind may hold it for ever, as ssh
/// does with ControlPersist.
const ECHO: Duration = Duration::from_millis(200);

/// Where a child's stderr goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stderr {
    /// To ours.
    Inherit,
    /// Its end is kept for the error line.
    Capture,
}

/// A child process whose stdin is written to and whose stdout is read. On drop it is killed, if it still runs, and
/// reaped.
#[derive(Debug)]
pub struct ChildStream {
    program: String,
    child: Child,
    /// Gone once our side is closed.
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    stderr: Option<Captured>,
}

#[derive(Debug)]
struct Captured {
    words: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl ChildStream {
    /// Starts `command`, with `{server}` filled in.
    pub(super) fn spawn(
        command: &[String],
        server: &str,
        stderr: Stderr,
    ) -> Result<ChildStream, TransportError> {
        let filled: Vec<String> = command.iter().map(|word| word.replace("{server}", server)).collect();
        let (program, arguments) = filled
            .split_first()
            .ok_or_else(|| TransportError("the command that leads to the server is empty".into()))?;
        let failed = |error: io::Error| TransportError(format!("cannot run {program}: {error}"));
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(match stderr {
                Stderr::Inherit => Stdio::inherit(),
                Stderr::Capture => Stdio::piped(),
            })
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stdout = stdout.ok_or_else(|| failed(io::Error::other("it has no stdout")))?;
        let stderr = child.stderr.take().map(Captured::start);
        Ok(ChildStream { program: program.clone(), child, stdin, stdout, stderr })
    }

    /// See `Stream::finish`. stdout stays open meanwhile, so that a last reply is no broken pipe.
    pub(super) async fn finish(mut self: Box<Self>, patience: Duration) -> Result<(), String> {
        self.stdin = None;
        let program = &self.program;
        let how = match timeout(patience, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => return Ok(()),
            Ok(Ok(status)) => format!("{program} ended with {status}"),
            Ok(Err(error)) => format!("{program}: {error}"),
            Err(_) => {
                // Already gone is as good.
                let _ = self.child.kill().await;
                format!("{program} did not end in {patience:?} and was killed")
            }
        };
        match self.stderr.take() {
            None => Err(how),
            Some(captured) => match captured.last_line().await {
                line if line.is_empty() => Err(how),
                line => Err(format!("{how}: {line}")),
            },
        }
    }
}

impl Captured {
    fn start(mut stderr: ChildStderr) -> Captured {
        let words = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&words);
        let reader = tokio::spawn(async move {
            let mut buffer = [0; 1024];
            while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&buffer[..count]);
                let surplus = kept.len().saturating_sub(LAST_WORDS);
                kept.drain(..surplus);
            }
        });
        Captured { words, reader }
    }

    /// The last line that is not empty, fit to be shown.
    async fn last_line(mut self) -> String {
        let _ = timeout(ECHO, &mut self.reader).await;
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        let words = String::from_utf8_lossy(&words);
        let line = words.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        crate::smtp::reply::printable(line, 400)
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl AsyncRead for ChildStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdout).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ChildStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stdin {
            Some(stdin) => Pin::new(stdin).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stdin {
            Some(stdin) => Pin::new(stdin).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Closes the child's stdin.
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stdin = None;
        Poll::Ready(Ok(()))
    }
}
