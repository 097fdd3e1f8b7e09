//! `gate submit`: a bridge from stdin and stdout to the server's submission socket.

use super::Allowed;
use crate::config;
use crate::error::{Exit, Failure};
use crate::net::preface::Preface;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Tells the server whom this session speaks for, then carries octets both ways until the server is done.
pub(super) fn run(allowed: &Allowed, config: &config::Server) -> Result<(), Failure> {
    let socket = connect(&config.state_dir.join("submission.sock"), allowed)?;
    let failed = |error: io::Error| Failure::new(Exit::TempFail, format!("gate submit: {error}"));
    let stdin = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(failed)?);
    let stdout = File::from(io::stdout().as_fd().try_clone_to_owned().map_err(failed)?);
    bridge(socket, stdin, stdout).map_err(failed)
}

fn connect(path: &Path, allowed: &Allowed) -> Result<UnixStream, Failure> {
    let mut socket = UnixStream::connect(path).map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                "the server is not running (start `pillarbox serve`)".into()
            }
            io::ErrorKind::PermissionDenied => {
                "this user may not use the socket (run gate as the server's user)".into()
            }
            _ => error.to_string(),
        };
        Failure::new(Exit::TempFail, format!("{}: {reason}", path.display()))
    })?;
    let preface = Preface { allow: allowed.to_strings() };
    let line = preface.to_line().map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
    socket
        .write_all(line.as_bytes())
        .map_err(|error| Failure::new(Exit::TempFail, format!("{}: {error}", path.display())))?;
    Ok(socket)
}

/// Ends when the server has closed its side: then nothing more can be answered, and the client must see the end at
/// once, whether or not it still holds its own side open. The client's own end is passed on as a half-close, so that
/// what the server still has to say arrives.
fn bridge(
    socket: UnixStream,
    mut input: impl Read + Send + 'static,
    mut output: impl Write,
) -> io::Result<()> {
    let mut to_server = socket.try_clone()?;
    std::thread::spawn(move || {
        // A server that is gone shows on the other way as well; there it is told apart from an orderly end.
        let _ = carry(&mut input, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let mut from_server = socket;
    match carry(&mut from_server, &mut output) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
            Err(error)
        }
        _ => Ok(()),
    }
}

/// Carries octets until the end. Not `io::copy`: that splices from a socket to a pipe, and while such a splice waits
/// for the server it holds the pipe's lock, on which the reader at the other end then hangs, non-blocking or not.
fn carry(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                to.write_all(&buffer[..count])?;
                to.flush()?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_server_that_does_not_run_is_temporary_and_named() {
        let directory = tempfile::tempdir().unwrap();
        let failure = connect(&directory.path().join("submission.sock"), &Allowed::default()).unwrap_err();
        assert_eq!(failure.exit, Exit::TempFail);
        assert!(failure.message.contains("not running"), "{failure}");
    }

    #[test]
    fn the_preface_comes_first_and_the_half_close_is_passed_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("submission.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(socket.try_clone().unwrap());
            let mut preface = String::new();
            lines.read_line(&mut preface).unwrap();
            let mut rest = String::new();
            lines.read_to_string(&mut rest).unwrap();
            (&socket).write_all(b"221 after the end of yours\r\n").unwrap();
            (preface, rest)
        });
        let allowed = Allowed::parse(&["Example.org"]).unwrap();
        let socket = connect(&path, &allowed).unwrap();
        let mut output = Vec::new();
        bridge(socket, &b"QUIT\r\n"[..], &mut output).unwrap();
        assert_eq!(output, b"221 after the end of yours\r\n");
        let (preface, rest) = server.join().unwrap();
        assert_eq!(preface, "{\"gate\":1,\"allow\":[\"example.org\"]}\n");
        assert_eq!(rest, "QUIT\r\n");
    }

    #[test]
    fn the_servers_end_is_the_end_even_if_the_client_holds_on() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (held_open, _keep) = UnixStream::pair().unwrap();
        (&theirs).write_all(b"421 bye\r\n").unwrap();
        drop(theirs);
        let mut output = Vec::new();
        bridge(ours, held_open, &mut output).unwrap();
        assert_eq!(output, b"421 bye\r\n");
    }
}
