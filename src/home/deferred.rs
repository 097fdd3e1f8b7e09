//! The owner's letters that a server has taken and could not deliver yet, as `gate queue` tells of them.

use super::child::{self, Gate, Server, Verb};
use crate::config;
use crate::error::{Exit, Failure};
use crate::net::waiting::{Line, MAX_LINE, VERSION, Waiting};
use std::io::{BufRead, BufReader, Read};

/// The most octets that a server may say: some 100,000 letters.
const MAX_ANSWER: u64 = 64 << 20;

/// A server, and what it said: its deferred letters, or why it told of none.
pub(super) type Told = (String, Result<Vec<Waiting>, Failure>);

/// Asks every server of the configuration, one after the other.
pub(super) fn ask(config: &config::Home) -> Result<Vec<Told>, Failure> {
    let servers = child::servers(config, Verb::Queue)?;
    Ok(servers.iter().map(|server| (server.name.clone(), ask_one(server))).collect())
}

fn ask_one(server: &Server) -> Result<Vec<Waiting>, Failure> {
    let (mut gate, from_gate, to_gate) = Gate::start(server)?;
    // There is nothing to say to it.
    drop(to_gate);
    read(BufReader::new(from_gate)).map_err(|why| {
        let text = format!("{}: {why}; {}", server.name, gate.epitaph());
        gate.kill();
        Failure::new(Exit::TempFail, text)
    })
}

/// Reads a whole answer. What is in it was chosen by strangers, or by a server in their hands.
fn read(from: impl BufRead) -> Result<Vec<Waiting>, String> {
    let mut from = from.take(MAX_ANSWER);
    let mut letters = Vec::new();
    match next(&mut from)? {
        Line::Queue { version: VERSION, .. } => {}
        Line::Queue { version, .. } => {
            return Err(format!(
                "it speaks version {version} of `gate queue`, not {VERSION}: update pillarbox"
            ));
        }
        _ => return Err("this is no answer of `pillarbox gate queue`".into()),
    }
    loop {
        match next(&mut from)? {
            Line::Waiting(waiting) => letters.push(waiting.printable()),
            Line::Unreadable { .. } => {}
            Line::Total(_) => return Ok(letters),
            Line::Queue { .. } => return Err("it began its answer twice".into()),
        }
    }
}

fn next(from: &mut impl BufRead) -> Result<Line, String> {
    let mut line = Vec::new();
    from.take(MAX_LINE as u64).read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
    match line.last() {
        Some(b'\n') => {
            serde_json::from_slice(&line).map_err(|error| format!("it said something strange: {error}"))
        }
        None => Err("it ended before its answer did".into()),
        Some(_) => Err("its answer broke off, or is longer than any queue".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    const HELLO: &str = "{\"queue\":{\"version\":1,\"server\":\"mx.example\"}}\n";
    const LETTER: &str = "{\"waiting\":{\"id\":\"x\",\"arrived\":1,\"size\":2,\"sender\":\"\",\"recipient\":\"r\",\
                          \"attempts\":0,\"next_attempt\":0,\"held\":false,\"reason\":\"a\\u001b[2Jb\",\"closed\":null}}\n";
    const TOTAL: &str =
        "{\"total\":{\"letters\":1,\"recipients\":1,\"octets\":2,\"oldest\":1,\"unreadable\":0}}\n";

    #[test]
    fn a_whole_answer_is_read_and_its_words_are_harmless() {
        let letters = read(format!("{HELLO}{LETTER}{TOTAL}").as_bytes()).unwrap();
        assert_eq!(letters[0].reason.as_deref(), Some("a?[2Jb"));
        assert!(read(format!("{HELLO}{TOTAL}").as_bytes()).unwrap().is_empty());
    }

    #[test]
    fn half_an_answer_is_none() {
        for (text, said) in [
            (String::new(), "ended"),
            (HELLO.into(), "ended"),
            (format!("{HELLO}{LETTER}"), "ended"),
            (format!("{HELLO}{{\"wai"), "broke off"),
            (format!("{HELLO}{HELLO}{TOTAL}"), "twice"),
            (TOTAL.into(), "no answer"),
            (HELLO.replace("\"version\":1", "\"version\":2"), "version 2"),
            (format!("{HELLO}{}", "x".repeat(100_000)), "broke off"),
            ("Last login: yesterday\n".into(), "strange"),
        ] {
            let why = read(text.as_bytes()).unwrap_err();
            assert!(why.contains(said), "{text:.60}: {why}");
        }
    }
}
