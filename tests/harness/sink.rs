//! A stranger's server that takes everything, remembers it, and stops where it is told to.

use super::{PATIENCE, eventually};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// Listens on 127.0.0.1. Recipients that begin with `later` are put off (450), with `never` refused (550).
pub struct Sink {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    hold: Option<&'static str>,
    away: bool,
    held: usize,
    letters: Vec<Taken>,
}

/// A letter that was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    pub to: Vec<String>,
    pub text: String,
    /// As it came behind 354, the last line with its dot included.
    pub raw: Vec<u8>,
}

impl Sink {
    pub fn start() -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sink = Sink { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let shared = Arc::clone(&sink.shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || converse(stream.ok()?, &shared));
            }
        });
        sink
    }

    /// From now on no connection comes further than this: `greeting`, a command's first word, or `.`, when the letter is
    /// taken and the reply is kept back.
    pub fn hold(&self, at: &'static str) {
        self.shared.state.lock().unwrap().hold = Some(at);
    }

    /// Everybody goes on.
    pub fn release(&self) {
        self.shared.state.lock().unwrap().hold = None;
        self.shared.changed.notify_all();
    }

    /// Whether connections are closed without a word.
    pub fn away(&self, away: bool) {
        self.shared.state.lock().unwrap().away = away;
    }

    /// Waits until a connection is held.
    pub fn wait_until_held(&self) {
        eventually("a connection at the sink", || (self.shared.state.lock().unwrap().held > 0).then_some(()));
    }

    /// How many letters with this in them it has taken.
    pub fn count(&self, text: &str) -> usize {
        self.shared.state.lock().unwrap().letters.iter().filter(|letter| letter.text.contains(text)).count()
    }

    /// The letters that it has taken.
    pub fn letters(&self) -> Vec<Taken> {
        self.shared.state.lock().unwrap().letters.clone()
    }
}

impl Shared {
    fn pass(&self, at: &str) {
        let mut state = self.state.lock().unwrap();
        state.held += usize::from(state.hold == Some(at));
        let held = state.hold == Some(at);
        let mut state = self.changed.wait_while(state, |state| state.hold == Some(at)).unwrap();
        state.held -= usize::from(held);
    }
}

fn converse(mut stream: TcpStream, shared: &Shared) -> Option<()> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    if shared.state.lock().unwrap().away {
        return None;
    }
    let mut lines = BufReader::new(stream.try_clone().ok()?);
    let mut say = |text: &str| stream.write_all(format!("{text}\r\n").as_bytes()).ok();
    shared.pass("greeting");
    say("220 mx.there.example ESMTP")?;
    let (mut line, mut to) = (String::new(), Vec::new());
    while lines.read_line(&mut line).ok()? > 0 {
        let word = line.split([' ', '\r']).next().unwrap_or_default().to_ascii_uppercase();
        shared.pass(&word);
        match word.as_str() {
            "EHLO" => say("250-mx.there.example\r\n250 ENHANCEDSTATUSCODES")?,
            "RCPT" if line.contains("<later") => say("450 4.2.1 later")?,
            "RCPT" if line.contains("<never") => say("550 5.1.1 never")?,
            "RCPT" => {
                to.push(line.split(['<', '>']).nth(1).unwrap_or_default().to_owned());
                say("250 2.1.5 ok")?;
            }
            "DATA" if to.is_empty() => say("554 5.5.1 nobody")?,
            "DATA" => {
                say("354 go on")?;
                let mut letter = Vec::new();
                while !letter.ends_with(b"\r\n.\r\n") {
                    if lines.read_until(b'\n', &mut letter).ok()? == 0 {
                        return None;
                    }
                }
                let text = String::from_utf8_lossy(&letter).into_owned();
                let taken = Taken { to: std::mem::take(&mut to), text, raw: letter };
                shared.state.lock().unwrap().letters.push(taken);
                shared.pass(".");
                say("250 2.0.0 taken")?;
            }
            "QUIT" => return say("221 2.0.0 bye"),
            "MAIL" | "RSET" => {
                to.clear();
                say("250 2.0.0 ok")?;
            }
            _ => say("250 2.0.0 ok")?,
        }
        line.clear();
    }
    Some(())
}
