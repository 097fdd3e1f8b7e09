//! The journal, as `journalctl` reads it to us.

use crate::error::{Exit, Failure, plainly};
use crate::smtp::reply::printable;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::process::{Command, ExitStatus, Stdio};

/// The unit whose log it is.
const UNIT: &str = "pillarbox";
/// How much of what it says on stderr is kept, in octets.
const WORDS: u64 = 2_048;

/// Has the lines read in which one of `ids` (hexadecimal digits) stands. What `journalctl` had to say, such as that not all of
/// the journal may be read.
pub(super) fn read(
    ids: &[String],
    gather: impl FnOnce(&mut dyn BufRead) -> io::Result<()>,
) -> Result<Option<String>, Failure> {
    let mut command = Command::new("journalctl");
    // Without --all a long line is left out.
    command.args(["--unit", UNIT, "--output", "json", "--all", "--no-pager"]);
    command.args(["--output-fields", "MESSAGE,_SOURCE_REALTIME_TIMESTAMP"]);
    command.args(["--grep", &ids.join("|")]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| absent(&error))?;
    let stderr = child.stderr.take();
    let words = std::thread::spawn(move || last_words(stderr));
    let gathered = match child.stdout.take() {
        Some(stdout) => gather(&mut BufReader::new(stdout)),
        None => Ok(()),
    };
    if gathered.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().and_then(|status| gathered.map(|()| status)).map_err(|error| failed(&error))?;
    let words = words.join().unwrap_or_default();
    judge(status, words)
}

/// 1 without a word means that no line was found.
fn judge(status: ExitStatus, words: Option<String>) -> Result<Option<String>, Failure> {
    match words {
        Some(words) if !status.success() => Err(Failure::new(
            Exit::Unavailable,
            format!(
                "journalctl: {words}; root and the groups adm and systemd-journal may read the journal, and a log that is \
                 kept elsewhere can be given with --log-file"
            ),
        )),
        None if !status.success() && status.code() != Some(1) => {
            Err(Failure::new(Exit::Unavailable, format!("journalctl ended with {status}")))
        }
        words => Ok(words),
    }
}

fn last_words(stderr: Option<impl Read>) -> Option<String> {
    let mut stderr = stderr?;
    let mut words = Vec::new();
    let _ = stderr.by_ref().take(WORDS).read_to_end(&mut words);
    // It must not wait for somebody to read on.
    let _ = io::copy(&mut stderr, &mut io::sink());
    let text = String::from_utf8_lossy(&words);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    (!lines.is_empty()).then(|| printable(&lines.join(" "), WORDS as usize))
}

fn absent(error: &io::Error) -> Failure {
    let text = match error.kind() {
        ErrorKind::NotFound => "there is no journalctl here".to_owned(),
        _ => format!("cannot run journalctl: {}", plainly(error)),
    };
    Failure::new(
        Exit::Unavailable,
        format!("{text}; give the file that the server's log goes to with --log-file"),
    )
}

fn failed(error: &io::Error) -> Failure {
    Failure::new(Exit::IoErr, format!("reading from journalctl: {}", plainly(error)))
}
