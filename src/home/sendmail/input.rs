//! Reading the letter from the standard input.

use crate::error::{Exit, Failure};
use std::io::{BufRead, BufReader, ErrorKind, Read};

/// More than any server takes; a guard against `sendmail < /dev/zero`.
const LARGEST: usize = 256 << 20;

/// Reads a letter as it was typed: to the end of the input or, unless `dot_is_text`, to a line with only a dot. The
/// line ends are left as they are. An empty input is no letter.
pub fn read(input: &mut dyn Read, dot_is_text: bool) -> Result<Vec<u8>, Failure> {
    let mut letter = Vec::new();
    // One octet more than allowed tells "too much" from "just enough".
    let mut input = BufReader::with_capacity(64 << 10, input.take(LARGEST as u64 + 1));
    let unreadable = |error: std::io::Error| {
        let exit = if error.kind() == ErrorKind::IsADirectory { Exit::NoInput } else { Exit::IoErr };
        Failure::new(exit, format!("cannot read the letter from the standard input: {error}"))
    };
    if dot_is_text {
        input.read_to_end(&mut letter).map_err(unreadable)?;
    } else {
        loop {
            let start = letter.len();
            if input.read_until(b'\n', &mut letter).map_err(unreadable)? == 0 {
                break;
            }
            if matches!(&letter[start..], b"." | b".\n" | b".\r\n") {
                letter.truncate(start);
                break;
            }
        }
    }
    if letter.len() > LARGEST {
        let text = format!("the letter is larger than {} MiB, which no server takes", LARGEST >> 20);
        return Err(Failure::new(Exit::DataErr, text));
    }
    drop_mbox_line(&mut letter);
    if letter.trim_ascii().is_empty() {
        return Err(Failure::new(
            Exit::DataErr,
            "the input is empty; a letter was expected on the standard input",
        ));
    }
    Ok(letter)
}

/// The `From me@x Mon Jan …` that mailbox files have above a letter is not part of it.
fn drop_mbox_line(letter: &mut Vec<u8>) {
    if letter.starts_with(b"From ") || letter.starts_with(b">From ") {
        let end = letter.iter().position(|b| *b == b'\n').map_or(letter.len(), |at| at + 1);
        letter.drain(..end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(input: &str, dot_is_text: bool) -> Result<String, Exit> {
        let read = read(&mut input.as_bytes(), dot_is_text);
        read.map(|letter| String::from_utf8(letter).unwrap()).map_err(|failure| failure.exit)
    }

    #[test]
    fn a_lone_dot_ends_the_letter_unless_it_is_text() {
        for dot in [".\n", ".\r\n", "."] {
            let input = format!("Subject: x\n\n..\n. \n .\n.a\n{dot}");
            assert_eq!(text(&input, false).unwrap(), "Subject: x\n\n..\n. \n .\n.a\n", "{dot:?}");
            assert_eq!(text(&input, true).unwrap(), input);
        }
        assert_eq!(text("a: b\n\n.\nnot read\n", false).unwrap(), "a: b\n\n");
        assert_eq!(text("a: b\n\n.\nread\n", true).unwrap(), "a: b\n\n.\nread\n");
    }

    #[test]
    fn empty_input_is_no_letter() {
        for input in ["", "\n", "\r\n \n", ".\n"] {
            assert_eq!(text(input, false), Err(Exit::DataErr), "{input:?}");
        }
        assert_eq!(text(" \n", true), Err(Exit::DataErr));
    }

    #[test]
    fn a_mailbox_files_line_is_dropped() {
        assert_eq!(text("From me@x.org Mon Jan  1 00:00:00 2026\na: b\n\nc\n", true).unwrap(), "a: b\n\nc\n");
    }

    #[test]
    fn input_without_an_end_is_refused() {
        let failure = read(&mut std::io::repeat(b'a'), true).unwrap_err();
        assert_eq!(failure.exit, Exit::DataErr);
    }

    #[test]
    fn an_unreadable_input_is_told_from_an_empty_one() {
        let mut directory = std::fs::File::open("/").unwrap();
        assert_eq!(read(&mut directory, true).unwrap_err().exit, Exit::NoInput);
    }
}
