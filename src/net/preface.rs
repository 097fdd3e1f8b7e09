//! The first line that `gate submit` says on the submission socket: whom the ssh key speaks for.

use serde::{Deserialize, Serialize};

/// The most octets that a preface line may have, its newline included.
pub const MAX_PREFACE: usize = 64 << 10;

const VERSION: u32 = 1;

/// What the gate knows of the session that it bridges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preface {
    /// Domains and addresses that the session is confined to; empty: not confined.
    pub allow: Vec<String>,
}

/// Why a preface line cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefaceError {
    /// The line is longer than [`MAX_PREFACE`].
    #[error("the gate's first line is longer than {MAX_PREFACE} octets")]
    TooLong,
    /// It is not the JSON object that was agreed on.
    #[error("the gate's first line is malformed: {0}")]
    Malformed(String),
    /// The gate is of another version than the server.
    #[error("the gate speaks version {0} of the preface, this server {VERSION}: restart the server")]
    Version(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    gate: u32,
    allow: Vec<String>,
}

impl Preface {
    /// The line, newline included.
    pub fn to_line(&self) -> Result<String, PrefaceError> {
        let line = Line { gate: VERSION, allow: self.allow.clone() };
        let mut text =
            serde_json::to_string(&line).map_err(|error| PrefaceError::Malformed(error.to_string()))?;
        text.push('\n');
        if text.len() > MAX_PREFACE { Err(PrefaceError::TooLong) } else { Ok(text) }
    }

    /// Reads a line, with or without its newline.
    pub fn parse(line: &[u8]) -> Result<Preface, PrefaceError> {
        if line.len() > MAX_PREFACE {
            return Err(PrefaceError::TooLong);
        }
        let line: Line =
            serde_json::from_slice(line).map_err(|error| PrefaceError::Malformed(error.to_string()))?;
        if line.gate != VERSION {
            return Err(PrefaceError::Version(line.gate));
        }
        Ok(Preface { allow: line.allow })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preface_comes_back_as_it_was() {
        let preface = Preface { allow: vec!["example.org".into(), "me@example.net".into()] };
        let line = preface.to_line().unwrap();
        assert_eq!(line, "{\"gate\":1,\"allow\":[\"example.org\",\"me@example.net\"]}\n");
        assert_eq!(Preface::parse(line.as_bytes()), Ok(preface));
    }

    #[test]
    fn anything_else_is_refused() {
        let malformed = [
            "",
            "EHLO x",
            "{}",
            "{\"gate\":1}",
            "{\"gate\":1,\"allow\":[],\"more\":1}",
            "{\"gate\":1,\"allow\":[]} x",
        ];
        for line in malformed {
            assert!(matches!(Preface::parse(line.as_bytes()), Err(PrefaceError::Malformed(_))), "{line}");
        }
        assert_eq!(Preface::parse(b"{\"gate\":2,\"allow\":[]}"), Err(PrefaceError::Version(2)));
        assert_eq!(Preface::parse(&vec![b' '; MAX_PREFACE + 1]), Err(PrefaceError::TooLong));
        assert_eq!(Preface { allow: vec!["a".repeat(MAX_PREFACE)] }.to_line(), Err(PrefaceError::TooLong));
    }
}
