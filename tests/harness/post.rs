//! Our server, whose relay finds one sink behind several domains; an author who sends; and what became of his letters.

use super::home::{Home, letter};
use super::sink::Sink;
use super::wire::Wire;
use super::{Dns, PATIENCE, Plan, Server, eventually};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

/// The author of all letters.
pub const ME: &str = "me@here.example";

/// Three domains, each with a server of its own name, which are one; and one whose server is at [`DEAD`].
const ZONE: &str = "\
here.example. 60 IN MX 10 mx.here.example.
mx.here.example. 60 IN A 127.0.0.1
there.example. 60 IN MX 10 mx.there.example.
mx.there.example. 60 IN A 127.0.0.1
far.example. 60 IN MX 10 mx.far.example.
mx.far.example. 60 IN A 127.0.0.1
near.example. 60 IN MX 10 mx.near.example.
mx.near.example. 60 IN A 127.0.0.1
dead.example. 60 IN MX 10 mx.dead.example.
mx.dead.example. 60 IN A 127.0.9.9
";

/// Where the server of `dead.example` is, at the sink's port.
pub const DEAD: [u8; 4] = [127, 0, 9, 9];

pub struct Post {
    pub server: Server,
    pub sink: Sink,
    pub home: Home,
    _dns: Dns,
}

impl Post {
    /// With more lines in `[relay]`.
    pub fn new(relay: &str) -> Post {
        Post::with(relay, |plan| plan)
    }

    /// The same, with whatever else is to be planned.
    pub fn with(relay: &str, change: impl FnOnce(Plan) -> Plan) -> Post {
        let (dns, sink) = (Dns::start(ZONE), Sink::start());
        let relay = format!("[relay]\nport = {}\nallow_private = true\n{relay}\n", sink.address.port());
        let server = change(Plan::new("mx.here.example", &[ME]).with(&relay)).start(&dns);
        let home = Home::new(&dns, ME);
        Post { server, sink, home, _dns: dns }
    }

    /// After a restart, whatever ended the server.
    pub fn again(self) -> Post {
        Post { server: self.server.again(), ..self }
    }

    /// A letter as it is submitted: the same octets are the same letter.
    pub fn sealed(&self, to: &[&str], subject: &str) -> Vec<u8> {
        self.home.sealed(&letter(ME, to[0], subject), "mx.here.example", to)
    }

    /// Submits a letter; its name in the queue.
    #[track_caller]
    pub fn send(&self, to: &[&str], subject: &str) -> String {
        let (mut wire, _) = Wire::greeted(self.server.submission());
        let reply = wire.transact(ME, to, &self.sealed(to, subject));
        assert!(reply.starts_with("250"), "{subject}: {reply}");
        id_in(&reply)
    }

    /// How often the sink took the letter for this recipient.
    pub fn at_the_sink(&self, subject: &str, to: &str) -> usize {
        let line = format!("Subject: {subject}\r\n");
        let letters = self.sink.letters();
        letters.iter().filter(|it| it.to.iter().any(|it| it == to) && it.text.contains(&line)).count()
    }

    /// How many reports of this action (`failed`, `delayed`) on the letter the author has.
    pub fn reports(&self, subject: &str, action: &str) -> usize {
        let (line, action) = (format!("Subject: {subject}\r\n"), format!("Action: {action}\r\n"));
        let letters = self.server.letters("here.example/me");
        letters.iter().filter(|letter| letter.contains(&line) && letter.contains(&action)).count()
    }

    pub fn queue(&self) -> PathBuf {
        self.server.state_dir().join("queue")
    }

    /// The recorded state of an entry, if there is one.
    pub fn state(&self, id: &str) -> Option<Value> {
        serde_json::from_slice(&std::fs::read(self.server.state_dir().join("state").join(id)).ok()?).ok()
    }

    /// Whether nothing is queued, and nothing that was is still being put away.
    pub fn is_at_rest(&self) -> bool {
        ["queue", "state"].iter().all(|place| names(&self.server.state_dir().join(place)).is_empty())
    }

    #[track_caller]
    pub fn rest(&self, what: &str) {
        eventually(&format!("{what}: rest"), || self.is_at_rest().then_some(()));
    }

    /// Waits until the server's log has this in it so many times.
    #[track_caller]
    pub fn says(&self, words: &str, times: usize) {
        let said = || (self.server.log().matches(words).count() >= times).then_some(());
        eventually(&format!("{words:?} in the log, {times} times"), said);
    }

    /// Waits until it is certain whether the server lives: one that is being killed still does for a moment, and answers
    /// nobody.
    #[track_caller]
    pub fn is_alive(&mut self) -> bool {
        eventually("an answer of the server, or its end", || {
            let answers = TcpStream::connect(self.server.mx()).and_then(|mut stream| {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.read(&mut [0])
            });
            match self.server.is_alive() {
                true => answers.is_ok_and(|count| count > 0).then_some(true),
                false => Some(false),
            }
        })
    }

    /// `queue retry` of all that waits.
    #[track_caller]
    pub fn retry(&self) {
        let output = self.server.command(&["queue", "retry"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Submits a letter to a server that may be killed at any moment; its name in the queue.
pub fn submit(server: SocketAddr, to: &[&str], sealed: &[u8]) -> io::Result<String> {
    let mut lines = BufReader::new(TcpStream::connect(server)?);
    lines.get_ref().set_read_timeout(Some(PATIENCE))?;
    lines.get_ref().set_nodelay(true)?;
    let mut ask = |said: &[u8], code: &str| {
        lines.get_mut().write_all(said)?;
        let mut line = String::new();
        while lines.read_line(&mut line)? > 0 {
            let reply = line.trim_end();
            match reply.as_bytes().get(3) {
                Some(b'-') => line.clear(),
                _ if reply.starts_with(code) => return Ok(reply.to_owned()),
                _ => return Err(io::Error::other(reply.to_owned())),
            }
        }
        Err(io::Error::from(io::ErrorKind::UnexpectedEof))
    };
    ask(b"", "220")?;
    ask(b"EHLO home.here.example\r\n", "250")?;
    ask(format!("MAIL FROM:<{ME}>\r\n").as_bytes(), "250")?;
    for to in to {
        ask(format!("RCPT TO:<{to}>\r\n").as_bytes(), "250")?;
    }
    ask(b"DATA\r\n", "354")?;
    ask(&[sealed, b".\r\n"].concat(), "250").map(|reply| id_in(&reply))
}

fn id_in(reply: &str) -> String {
    reply.rsplit("id ").next().unwrap().trim().to_owned()
}

/// What lies in a directory, sorted.
pub fn names(directory: &Path) -> Vec<String> {
    let Ok(files) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<_> =
        files.flatten().map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
