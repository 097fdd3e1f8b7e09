//! SMTP by hand: a socket on which lines are sent and replies are read.

use super::tls::{Private, handshake};
use super::{PATIENCE, PILLARBOX, Server};
use rustix::net::{AddressFamily, SocketType};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

/// One connection.
pub struct Wire {
    reader: BufReader<Stream>,
    /// `gate submit`, where the connection goes through it.
    gate: Option<Child>,
}

enum Stream {
    Tcp(TcpStream),
    Gate(UnixStream),
    Private(Box<Private>),
    /// Being made private.
    Nothing,
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(gate) = &mut self.gate {
            let _ = gate.kill();
            let _ = gate.wait();
        }
    }
}

impl Wire {
    /// Connects and reads nothing yet.
    pub fn connect(to: SocketAddr) -> Wire {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Wire { reader: BufReader::new(Stream::Tcp(stream)), gate: None }
    }

    /// Through `pillarbox gate submit ALLOWED…`, as sshd would start it; greeted as in [`Wire::greeted`].
    pub fn gate(server: &Server, allowed: &[&str]) -> (Wire, String) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = Command::new(PILLARBOX);
        command.arg("--config").arg(server.config()).args(["gate", "submit"]).args(allowed);
        let gate = command
            .stdin(Stdio::from(OwnedFd::from(theirs.try_clone().unwrap())))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap();
        Wire { reader: BufReader::new(Stream::Gate(ours)), gate: Some(gate) }.greet()
    }

    /// Connects, is greeted and says EHLO. Returns the name in the greeting too.
    pub fn greeted(to: SocketAddr) -> (Wire, String) {
        Wire::connect(to).greet()
    }

    /// Under TLS from the first octet on; greeted as in [`Wire::greeted`].
    pub fn private(to: SocketAddr) -> (Wire, String) {
        Wire::connect(to).secure().greet()
    }

    /// Greeted, then under TLS by STARTTLS, and EHLO said again.
    pub fn starttls(to: SocketAddr) -> (Wire, String) {
        let (mut wire, name) = Wire::greeted(to);
        wire.ask("STARTTLS", "220 2.0.0");
        let mut wire = wire.secure();
        wire.ask("EHLO mx.there.example", "250");
        (wire, name)
    }

    /// Performs the handshake.
    #[track_caller]
    pub fn secure(mut self) -> Wire {
        assert!(self.reader.buffer().is_empty(), "something was said in clear: {:?}", self.reader.buffer());
        match std::mem::replace(self.reader.get_mut(), Stream::Nothing) {
            Stream::Tcp(stream) => {
                let private = handshake(stream, "mx.here.example").unwrap();
                *self.reader.get_mut() = Stream::Private(Box::new(private));
                self
            }
            _ => panic!("only TCP in clear can be made private"),
        }
    }

    /// The socket, in clear.
    pub fn clear(&mut self) -> &mut TcpStream {
        match self.reader.get_mut() {
            Stream::Tcp(stream) => stream,
            _ => panic!("this is not in clear"),
        }
    }

    /// The socket itself, for octets that are no SMTP.
    pub fn into_clear(mut self) -> TcpStream {
        assert!(self.reader.buffer().is_empty(), "something was said: {:?}", self.reader.buffer());
        self.clear().try_clone().unwrap()
    }

    /// What TLS is made of here.
    pub fn tls(&mut self) -> &mut Private {
        match self.reader.get_mut() {
            Stream::Private(private) => private,
            _ => panic!("this is not under TLS"),
        }
    }

    fn greet(mut self) -> (Wire, String) {
        let greeting = self.expect("220");
        let name = greeting.split_whitespace().nth(1).unwrap().to_owned();
        self.say("EHLO mx.there.example").expect("250");
        (self, name)
    }

    /// Sends a line.
    pub fn say(&mut self, line: &str) -> &mut Wire {
        self.raw(format!("{line}\r\n").as_bytes())
    }

    /// Sends these bytes.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Wire {
        self.reader.get_mut().write_all(bytes).unwrap();
        self.reader.get_mut().flush().unwrap();
        self
    }

    /// Sends a message, dot-stuffed, with the final dot.
    pub fn message(&mut self, message: &[u8]) -> &mut Wire {
        let mut out = Vec::new();
        for line in message.split_inclusive(|b| *b == b'\n') {
            if line.starts_with(b".") {
                out.push(b'.');
            }
            out.extend_from_slice(line);
        }
        out.extend_from_slice(b".\r\n");
        self.raw(&out)
    }

    /// A whole reply, each line as `CODE text`; empty at the end of the connection.
    pub fn reply(&mut self) -> String {
        self.reply_or_reset().unwrap()
    }

    /// The same where the other side may be killed at any moment.
    pub fn reply_or_reset(&mut self) -> std::io::Result<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Ok(lines.join("\n"));
            }
            let last = line.as_bytes().get(3) != Some(&b'-');
            let (code, text) = line.trim_end().split_at(3.min(line.trim_end().len()));
            lines.push(format!("{code} {}", text.get(1..).unwrap_or_default()));
            if last {
                return Ok(lines.join("\n"));
            }
        }
    }

    /// Reads a reply that must begin with `prefix` (`250`, `550 5.1.1`).
    #[track_caller]
    pub fn expect(&mut self, prefix: &str) -> String {
        let reply = self.reply();
        assert!(reply.starts_with(prefix), "want {prefix}, got {reply:?}");
        reply
    }

    /// Sends a command and expects a reply.
    #[track_caller]
    pub fn ask(&mut self, line: &str, prefix: &str) -> String {
        self.say(line).expect(prefix)
    }

    /// Expects the server to close the connection.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = self.reader.read_to_end(&mut rest);
        assert!(rest.is_empty(), "more was said: {:?}", String::from_utf8_lossy(&rest));
    }

    /// A whole transaction; the reply that ended it: the first refusal, or the one to the final dot.
    pub fn transact(&mut self, from: &str, to: &[&str], message: &[u8]) -> String {
        let mut commands = vec![format!("MAIL FROM:<{from}>")];
        commands.extend(to.iter().map(|to| format!("RCPT TO:<{to}>")));
        commands.push("DATA".into());
        for command in commands {
            let reply = self.say(&command).reply();
            if !reply.starts_with(['2', '3']) {
                return reply;
            }
        }
        self.message(message).reply()
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Gate(stream) => stream.read(buffer),
            Stream::Private(stream) => stream.read(buffer),
            Stream::Nothing => Ok(0),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Gate(stream) => stream.write(bytes),
            Stream::Private(stream) => stream.write(bytes),
            Stream::Nothing => Ok(0),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Private(stream) => stream.flush(),
            _ => Ok(()),
        }
    }
}

/// A connection from one of the loopback's sixteen million addresses.
pub fn from(source: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrV4::new(source, 0)).unwrap();
    rustix::net::connect(&socket, &to).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}
