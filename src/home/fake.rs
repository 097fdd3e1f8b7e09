//! For tests: a home with keys, and a server that follows a script.

use crate::config::{self, Via};
use crate::trust::keys::{Algorithm, generate_pem};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// A home in a temporary directory, with the key of me@example.org.
pub struct Place {
    pub dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("mail")).unwrap();
        let place = Place { dir };
        place.key("me@example.org");
        place
    }

    /// Puts a key there.
    pub fn key(&self, name: &str) {
        static PEM: OnceLock<String> = OnceLock::new();
        let pem = PEM.get_or_init(|| generate_pem(Algorithm::Rsa2048).unwrap());
        std::fs::write(self.dir.path().join(format!("mail/{name}-dkim.pem")), pem).unwrap();
    }

    /// A configuration with these servers.
    pub fn home(&self, servers: &[&Fake]) -> config::Home {
        config::Home {
            server: servers.iter().map(|fake| fake.address.to_string()).collect(),
            mail: self.dir.path().join("mail"),
            submit_via: Via::Url("smtp://{server}".into()),
            outbox: self.dir.path().join("state/outbox"),
            ..config::Home::default()
        }
    }
}

type Script = Vec<(String, String)>;

/// A server that answers by its script: the first rule whose prefix a command has. The greeting's prefix is the whole
/// of "", the letter's end is "."; the reply "CLOSE" closes the connection.
pub struct Fake {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    heard: Option<Receiver<Heard>>,
}

/// One connection.
#[derive(Debug, Default)]
pub struct Heard {
    pub commands: Vec<String>,
    pub letter: Vec<u8>,
}

impl Fake {
    pub fn start(script: &[(&str, &str)]) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, heard) = channel();
        let fake = Fake { address, script: Arc::default(), heard: Some(heard) };
        fake.set(script);
        let script = fake.script.clone();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let rules = script.lock().unwrap().clone();
                if serve(&rules, stream, &sender).is_none() {
                    break;
                }
            }
        });
        fake
    }

    /// A port where nobody listens.
    pub fn dead() -> Fake {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Fake { address, script: Arc::default(), heard: None }
    }

    /// Another script, from the next connection on.
    pub fn set(&self, script: &[(&str, &str)]) {
        let script = script.iter().map(|(at, reply)| (at.to_string(), reply.to_string()));
        *self.script.lock().unwrap() = script.collect();
    }

    /// What the next connection said.
    pub fn heard(&self) -> Heard {
        self.heard.as_ref().unwrap().recv_timeout(Duration::from_secs(20)).expect("a connection")
    }

    /// Whether nobody came.
    pub fn is_unheard(&self) -> bool {
        self.heard.as_ref().unwrap().try_recv().is_err()
    }
}

impl Heard {
    pub fn said(&self, prefix: &str) -> bool {
        self.commands.iter().any(|command| command.starts_with(prefix))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.letter.clone()).unwrap()
    }

    pub fn nonce(&self) -> String {
        let text = self.text();
        let tag = text.split("; n=").nth(1).expect("a nonce");
        tag.split(';').next().unwrap().trim().to_owned()
    }

    /// The letter without the seal and the signature over it: from the second DKIM-Signature on.
    pub fn unsealed(&self) -> String {
        let text = self.text();
        let start = text.match_indices("DKIM-Signature:").nth(1).expect("two signatures").0;
        text[start..].to_owned()
    }
}

/// One connection; `None` when nobody wants to hear of it any more.
fn serve(rules: &Script, stream: TcpStream, sender: &Sender<Heard>) -> Option<()> {
    let mut heard = Heard::default();
    let _ = converse(rules, stream, &mut heard);
    sender.send(heard).ok()
}

fn converse(rules: &Script, mut stream: TcpStream, heard: &mut Heard) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?);
    say(rules, &mut stream, "", "220 mx.example ESMTP")?;
    let mut line = String::new();
    while lines.read_line(&mut line).ok()? > 0 {
        let command = line.trim_end().to_owned();
        heard.commands.push(command.clone());
        line.clear();
        match command.split(' ').next().unwrap_or_default() {
            "EHLO" => {
                say(rules, &mut stream, &command, "250-mx.example\r\n250-ENHANCEDSTATUSCODES\r\n250 DSN")?
            }
            "QUIT" => say(rules, &mut stream, &command, "221 2.0.0 bye")?,
            "DATA" => {
                say(rules, &mut stream, &command, "354 go on")?;
                loop {
                    let start = heard.letter.len();
                    if lines.read_until(b'\n', &mut heard.letter).ok()? == 0 {
                        return None;
                    }
                    if &heard.letter[start..] == b".\r\n" {
                        heard.letter.truncate(start);
                        break;
                    }
                }
                say(rules, &mut stream, ".", "250 2.0.0 queued")?;
            }
            _ => say(rules, &mut stream, &command, "250 2.1.0 ok")?,
        }
    }
    Some(())
}

fn say(rules: &Script, stream: &mut TcpStream, at: &str, usual: &str) -> Option<()> {
    let matches = |rule: &&(String, String)| match rule.0.as_str() {
        "" => at.is_empty(),
        prefix => at.starts_with(prefix),
    };
    let reply = rules.iter().find(matches).map_or(usual, |rule| rule.1.as_str());
    if reply == "CLOSE" {
        return None;
    }
    stream.write_all(format!("{reply}\r\n").as_bytes()).ok()
}
