//! Other people's MX with TLS, in threads of this process. Each has a loopback address of its own, and all have one port:
//! the relay knows one port for all.

use super::pki::Shown;
use super::{PATIENCE, eventually};
use rustls::{ServerConnection, StreamOwned};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};

/// A server that takes letters. Recipients that begin with `later` are put off (450), with `never` refused (550).
pub struct Mx {
    pub ip: IpAddr,
    shared: Arc<Shared>,
}

/// What it does about TLS.
#[derive(Clone)]
pub enum StartTls {
    /// It is not offered.
    Absent,
    /// This is what it shows.
    Shows(Shown),
    /// As `Shows`; only who has said this to AUTH PLAIN may send.
    Login(Shown, &'static str),
    /// It is offered, and this is the reply.
    Refused(&'static str),
    /// 220; the client's first message is read, and answered with these octets and the end.
    Garbage(&'static [u8]),
    /// 220; the client's first message is read, and the connection closed.
    Closed,
    /// As `Shows`, but these octets follow the 220 in clear.
    Injects(Shown, &'static [u8]),
    /// As `Shows`; in the middle of a letter's text it says close_notify and leaves.
    Leaves(Shown),
    /// As `Shows`; in the middle of a letter's text it leaves without a word.
    Cuts(Shown),
}

/// A letter that was taken.
#[derive(Clone, Debug)]
pub struct Letter {
    pub from: String,
    pub to: Vec<String>,
    pub text: String,
    /// `TLSv1_3`; none in clear.
    pub tls: Option<String>,
    /// The name that the client asked for.
    pub sni: Option<String>,
}

struct Shared {
    state: Mutex<State>,
}

struct State {
    manner: StartTls,
    away: bool,
    letters: Vec<Letter>,
    clear: Vec<String>,
    connections: usize,
}

/// The port of all of them, below those that the system gives to whoever asks for any.
pub fn port() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        let [low, high, ..] = random();
        12_000 + u16::from_le_bytes([low, high]) % 16_000
    })
}

/// A listener on that port, at an address that nobody else has.
pub fn listener() -> TcpListener {
    loop {
        let [b, c, d, _] = random();
        // The tests' own servers are in 127.0.0.0/24.
        let address = SocketAddr::from((Ipv4Addr::new(127, b | 1, c, d % 254 + 1), port()));
        if let Ok(listener) = TcpListener::bind(address) {
            return listener;
        }
    }
}

/// `[relay]` for a server that sends to these.
pub fn relay() -> String {
    format!("[relay]\nport = {}\nallow_private = true\n", port())
}

impl Mx {
    pub fn start(manner: StartTls) -> Mx {
        let listener = listener();
        let state = State { manner, away: false, letters: Vec::new(), clear: Vec::new(), connections: 0 };
        let mx = Mx {
            ip: listener.local_addr().unwrap().ip(),
            shared: Arc::new(Shared { state: Mutex::new(state) }),
        };
        let shared = Arc::clone(&mx.shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || converse(stream?, &shared));
            }
            io::Result::Ok(())
        });
        mx
    }

    /// Other manners for connections from now on.
    pub fn behave(&self, manner: StartTls) {
        self.shared.state.lock().unwrap().manner = manner;
    }

    /// Whether connections are closed without a word.
    pub fn away(&self, away: bool) {
        self.shared.state.lock().unwrap().away = away;
    }

    pub fn letters(&self) -> Vec<Letter> {
        self.shared.state.lock().unwrap().letters.clone()
    }

    /// Waits for the letter with this in its text.
    #[track_caller]
    pub fn letter(&self, text: &str) -> Letter {
        let find = || self.letters().into_iter().find(|letter| letter.text.contains(text));
        eventually(&format!("the letter {text:?}"), find)
    }

    /// What was said in clear, line by line.
    pub fn heard_in_clear(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().clear.clone()
    }

    /// Whether anything of a letter was said in clear.
    pub fn took_in_clear(&self) -> bool {
        let words = ["MAIL", "RCPT", "DATA"];
        self.heard_in_clear().iter().any(|line| words.iter().any(|word| line.starts_with(word)))
    }

    pub fn connections(&self) -> usize {
        self.shared.state.lock().unwrap().connections
    }
}

/// One connection.
struct Talk<'a> {
    line: BufReader<Stream>,
    manner: StartTls,
    shared: &'a Shared,
}

enum Stream {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
    /// Between the two.
    Nothing,
}

fn converse(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let (manner, away) = {
        let mut state = shared.state.lock().unwrap();
        state.connections += 1;
        (state.manner.clone(), state.away)
    };
    if away {
        return Ok(());
    }
    Talk { line: BufReader::new(Stream::Clear(stream)), manner, shared }.run()
}

impl Talk<'_> {
    fn run(mut self) -> io::Result<()> {
        self.say("220 mx.there.example ESMTP")?;
        let (mut from, mut to) = (String::new(), Vec::new());
        let mut known = !matches!(self.manner, StartTls::Login(..));
        loop {
            let line = self.hear()?;
            let word = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            match word.as_str() {
                "EHLO" if self.offers() => {
                    self.say("250-mx.there.example\r\n250-PIPELINING\r\n250 STARTTLS")?
                }
                "EHLO" if !known => self.say("250-mx.there.example\r\n250 AUTH LOGIN PLAIN")?,
                "EHLO" => self.say("250-mx.there.example\r\n250 PIPELINING")?,
                "AUTH" => {
                    known = self.knows(&line);
                    self.say(if known { "235 2.7.0 welcome" } else { "535 5.7.8 who?" })?;
                }
                "MAIL" if !known => self.say("530 5.7.0 log in")?,
                "STARTTLS" if self.offers() => self.secure()?,
                "MAIL" => {
                    (from, to) = (line, Vec::new());
                    self.say("250 2.1.0 ok")?;
                }
                "RCPT" if line.contains("<later") => self.say("450 4.2.1 later")?,
                "RCPT" if line.contains("<never") => self.say("550 5.1.1 never")?,
                "RCPT" => {
                    to.push(line);
                    self.say("250 2.1.5 ok")?;
                }
                "DATA" if to.is_empty() => self.say("554 5.5.1 nobody")?,
                "DATA" => {
                    self.say("354 go on")?;
                    let text = self.text()?;
                    self.take(&from, &to, text);
                    self.say("250 2.0.0 taken")?;
                }
                "RSET" | "NOOP" => self.say("250 2.0.0 ok")?,
                "QUIT" => return self.say("221 2.0.0 bye"),
                _ => self.say("502 5.5.2 what?")?,
            }
        }
    }

    fn offers(&self) -> bool {
        matches!(self.line.get_ref(), Stream::Clear(_)) && !matches!(self.manner, StartTls::Absent)
    }

    fn knows(&self, line: &str) -> bool {
        matches!(self.line.get_ref(), Stream::Tls(_))
            && matches!(&self.manner, StartTls::Login(_, words) if line == format!("AUTH PLAIN {words}"))
    }

    /// The reply to STARTTLS, and what comes of it.
    fn secure(&mut self) -> io::Result<()> {
        let go = "220 2.0.0 go on";
        match self.manner.clone() {
            StartTls::Absent => Ok(()),
            StartTls::Refused(reply) => self.say(reply),
            StartTls::Garbage(octets) => {
                self.say(go)?;
                self.line.fill_buf()?;
                self.line.get_mut().write_all(octets)?;
                self.leave()
            }
            StartTls::Closed => {
                self.say(go)?;
                self.line.fill_buf()?;
                self.leave()
            }
            StartTls::Injects(shown, octets) => {
                self.line.get_mut().write_all(&[go.as_bytes(), b"\r\n", octets].concat())?;
                self.shake(&shown)
            }
            StartTls::Shows(shown)
            | StartTls::Login(shown, _)
            | StartTls::Leaves(shown)
            | StartTls::Cuts(shown) => {
                self.say(go)?;
                self.shake(&shown)
            }
        }
    }

    fn shake(&mut self, shown: &Shown) -> io::Result<()> {
        assert!(self.line.buffer().is_empty(), "a client waits for the 220");
        let Stream::Clear(mut stream) = std::mem::replace(self.line.get_mut(), Stream::Nothing) else {
            return Ok(());
        };
        let mut connection = ServerConnection::new(shown.config()).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        *self.line.get_mut() = Stream::Tls(Box::new(StreamOwned::new(connection, stream)));
        Ok(())
    }

    /// The text up to the dot.
    fn text(&mut self) -> io::Result<String> {
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n.\r\n") {
            if self.line.read_until(b'\n', &mut text)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if matches!(self.manner, StartTls::Leaves(_) | StartTls::Cuts(_)) {
                self.leave()?;
            }
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Ends the connection, with close_notify where that is the manner.
    fn leave(&mut self) -> io::Result<()> {
        let farewell = matches!(self.manner, StartTls::Leaves(_));
        match self.line.get_mut() {
            Stream::Tls(stream) => {
                if farewell {
                    stream.conn.send_close_notify();
                    stream.flush()?;
                }
                stream.sock.shutdown(Shutdown::Both)?;
            }
            Stream::Clear(stream) => stream.shutdown(Shutdown::Both)?,
            Stream::Nothing => {}
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    fn take(&mut self, from: &str, to: &[String], text: String) {
        let (tls, sni) = match self.line.get_ref() {
            Stream::Tls(stream) => (
                stream.conn.protocol_version().map(|version| format!("{version:?}")),
                stream.conn.server_name().map(str::to_owned),
            ),
            _ => (None, None),
        };
        let letter = Letter { from: path(from), to: to.iter().map(|to| path(to)).collect(), text, tls, sni };
        self.shared.state.lock().unwrap().letters.push(letter);
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        self.line.get_mut().write_all(format!("{text}\r\n").as_bytes())?;
        self.line.get_mut().flush()
    }

    fn hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.line.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_owned();
        if matches!(self.line.get_ref(), Stream::Clear(_)) {
            self.shared.state.lock().unwrap().clear.push(line.clone());
        }
        Ok(line)
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Clear(stream) => stream.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
            Stream::Nothing => Ok(0),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Clear(stream) => stream.write(octets),
            Stream::Tls(stream) => stream.write(octets),
            Stream::Nothing => Ok(0),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Clear(stream) => stream.flush(),
            Stream::Tls(stream) => stream.flush(),
            Stream::Nothing => Ok(()),
        }
    }
}

/// What stands between the angle brackets.
fn path(command: &str) -> String {
    command.split(['<', '>']).nth(1).unwrap_or_default().to_owned()
}

fn random() -> [u8; 4] {
    let mut octets = [0; 4];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut octets).unwrap();
    octets
}
