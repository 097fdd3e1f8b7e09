//! Strangers' servers that break the rules: a script per connection, in threads of this process. Each has a loopback address
//! of its own, and all have the port of [`mx::port`](super::mx::port).

use super::{eventually, mx};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// A server that does what its script says with each connection.
pub struct Odd {
    pub ip: IpAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    callers: Mutex<Vec<IpAddr>>,
    /// The script is over: from now on it behaves.
    healed: AtomicBool,
    letters: Mutex<Vec<String>>,
    gone: (Mutex<bool>, Condvar),
}

/// What a script works with.
pub struct Peer {
    lines: BufReader<TcpStream>,
    shared: Arc<Shared>,
    /// What the client has said.
    pub heard: Vec<String>,
}

/// The stages of a session, by what the client has just said.
pub const STAGES: [&str; 6] = ["", "EHLO", "MAIL", "RCPT", "DATA", "."];

impl Odd {
    pub fn start(script: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static) -> Odd {
        Odd::on(mx::listener(), script)
    }

    pub fn on(
        listener: TcpListener,
        script: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static,
    ) -> Odd {
        let odd = Odd { ip: listener.local_addr().unwrap().ip(), shared: Arc::default() };
        let (shared, script) = (Arc::clone(&odd.shared), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, shared, script) = (stream?, Arc::clone(&shared), Arc::clone(&script));
                shared.callers.lock().unwrap().push(stream.peer_addr()?.ip());
                stream.set_nodelay(true)?;
                std::thread::spawn(move || {
                    let healed = shared.healed.load(Ordering::Relaxed);
                    let mut peer = Peer { lines: BufReader::new(stream), shared, heard: Vec::new() };
                    // What goes wrong here is what the script is about.
                    let _ = if healed { peer.behave() } else { script(&mut peer) };
                });
            }
            io::Result::Ok(())
        });
        odd
    }

    /// Who has connected.
    pub fn callers(&self) -> Vec<IpAddr> {
        self.shared.callers.lock().unwrap().clone()
    }

    /// New connections find a server that takes letters.
    pub fn heal(&self) {
        self.shared.healed.store(true, Ordering::Relaxed);
    }

    /// The letters whose dot has come, whatever was said to it.
    pub fn letters(&self) -> Vec<String> {
        self.shared.letters.lock().unwrap().clone()
    }

    #[track_caller]
    pub fn wait_for_connections(&self, count: usize) {
        eventually("a connection at the odd server", || (self.callers().len() >= count).then_some(()));
    }
}

impl Drop for Odd {
    fn drop(&mut self) {
        *self.shared.gone.0.lock().unwrap() = true;
        self.shared.gone.1.notify_all();
    }
}

impl Peer {
    /// Says these octets and no others.
    pub fn raw(&mut self, octets: &[u8]) -> io::Result<()> {
        self.lines.get_mut().write_all(octets)
    }

    /// Says one line.
    pub fn say(&mut self, line: &str) -> io::Result<()> {
        self.raw(format!("{line}\r\n").as_bytes())
    }

    /// One line of the client's.
    pub fn hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.lines.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_owned();
        self.heard.push(line.clone());
        Ok(line)
    }

    /// Answers as it should up to a stage, whose command is heard and not answered.
    pub fn until(&mut self, stage: &str) -> io::Result<()> {
        if stage.is_empty() {
            return Ok(());
        }
        self.say("220 odd.example ESMTP")?;
        loop {
            let line = self.hear()?;
            if line.starts_with(stage) {
                return Ok(());
            }
            match line.split(' ').next().unwrap_or_default() {
                "EHLO" => self.say("250-odd.example\r\n250-8BITMIME\r\n250 SIZE")?,
                "DATA" => {
                    self.say("354 go on")?;
                    if stage == "." {
                        return self.text();
                    }
                    self.text()?;
                    self.say("250 2.0.0 taken")?;
                }
                "QUIT" => return self.say("221 2.0.0 bye"),
                _ => self.say("250 2.0.0 ok")?,
            }
        }
    }

    /// A server like others, to the end.
    pub fn behave(&mut self) -> io::Result<()> {
        self.until("there is no such command")
    }

    /// The text of a letter, to its dot.
    pub fn text(&mut self) -> io::Result<()> {
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n.\r\n") {
            if self.lines.read_until(b'\n', &mut text)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.shared.letters.lock().unwrap().push(String::from_utf8_lossy(&text).into_owned());
        Ok(())
    }

    /// So much of the text, and no more.
    pub fn some_text(&mut self, octets: usize) -> io::Result<()> {
        let mut seen = 0;
        while seen < octets {
            let count = self.lines.fill_buf()?.len();
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.lines.consume(count);
            seen += count;
        }
        Ok(())
    }

    /// Ends with RST.
    pub fn reset(&mut self) -> io::Result<()> {
        rustix::net::sockopt::set_socket_linger(self.lines.get_ref(), Some(Duration::ZERO))?;
        Err(io::ErrorKind::ConnectionReset.into())
    }

    /// Nothing more is said; what comes is still read.
    pub fn half_close(&mut self) -> io::Result<()> {
        self.lines.get_ref().shutdown(Shutdown::Write)?;
        io::copy(&mut self.lines, &mut io::sink()).map(|_| ())
    }

    /// Keeps the connection and does nothing, until the test is over.
    pub fn wait(&mut self) -> io::Result<()> {
        let (gone, changed) = &self.shared.gone;
        let gone = gone.lock().unwrap();
        drop(changed.wait_while(gone, |gone| !*gone).unwrap());
        Ok(())
    }

    /// Says this again and again, with a pause, until nobody listens or the test is over.
    pub fn drip(&mut self, octets: &[u8], pause: Duration) -> io::Result<()> {
        while !*self.shared.gone.0.lock().unwrap() {
            self.raw(octets)?;
            std::thread::sleep(pause);
        }
        Ok(())
    }
}
