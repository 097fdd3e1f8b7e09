//! What the server and the filter's helper say to each other: lines of JSON, and the letter.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::path::PathBuf;

/// The longest line, in octets.
pub const LINE_MAX: usize = 1 << 20;

/// The server's first line: what the helper is there for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Setup {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Whom to become.
    pub user: Option<String>,
    /// The directories that are none of its business, absolute.
    pub trees: Vec<PathBuf>,
    /// Seconds that a program may take.
    pub timeout: u64,
}

/// The helper's answer to it.
#[derive(Debug, Serialize, Deserialize)]
pub enum Hello {
    /// Confined, and ready.
    Ready,
    /// Why not, and what to do.
    Unable(String),
}

/// A letter, in a conversation of its own: this line, then as many octets.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// Variables of the program's environment.
    pub environment: Vec<(String, String)>,
    /// Octets of the letter.
    pub length: u64,
}

/// What became of the program.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// It ended by itself.
    Exited {
        /// Its exit status.
        status: i32,
        /// Its standard output.
        output: Vec<u8>,
        /// The first line of its standard error.
        said: String,
    },
    /// It did not, or could not be run.
    Broken {
        /// Why.
        why: String,
        /// The first line of its standard error.
        said: String,
    },
}

/// A line with its line feed.
pub fn to_line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

/// The other way.
pub fn from_line<T: DeserializeOwned>(line: &[u8]) -> io::Result<T> {
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(line).map_err(io::Error::other)
}

/// Reads one line and nothing behind it.
pub fn read_line<T: DeserializeOwned>(mut from: impl Read) -> io::Result<T> {
    let (mut line, mut octet) = (Vec::new(), [0]);
    while line.len() < LINE_MAX {
        match from.read(&mut octet) {
            Ok(1) if octet != [b'\n'] => line.extend(octet),
            // As of a process that was stopped and goes on, or is traced.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => {
                read?;
                break;
            }
        }
    }
    from_line(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Interrupted<'a>(bool, &'a [u8]);

    impl Read for Interrupted<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.0 = !self.0;
            if self.0 { Err(io::ErrorKind::Interrupted.into()) } else { self.1.read(into) }
        }
    }

    #[test]
    fn an_interrupted_line_goes_on() {
        let mut from = Interrupted(false, b"\"hello\"\nmore");
        assert_eq!(read_line::<String>(&mut from).unwrap(), "hello");
        assert_eq!(from.1, b"more");
        assert!(read_line::<String>(Interrupted(false, b"")).is_err());
    }
}
