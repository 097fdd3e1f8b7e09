//! The host of MTA-STS policies: one HTTPS server for many domains, in threads of this process.

use super::PATIENCE;
use super::pki::Shown;
use rustls::{ServerConnection, StreamOwned};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Listens on 127.0.0.1.
pub struct Policies {
    pub port: u16,
    shared: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The text by host.
    texts: HashMap<String, String>,
    away: bool,
    /// The hosts that were asked for.
    asked: Vec<String>,
    connections: usize,
}

impl Policies {
    /// With a certificate that names the hosts which are to be believed.
    pub fn start(shown: &Shown) -> Policies {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let policies = Policies { port: listener.local_addr().unwrap().port(), shared: Arc::default() };
        let (shared, config) = (Arc::clone(&policies.shared), shown.config());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (shared, config) = (Arc::clone(&shared), Arc::clone(&config));
                std::thread::spawn(move || {
                    {
                        let mut state = shared.lock().unwrap();
                        state.connections += 1;
                        if state.away {
                            return Ok(());
                        }
                    }
                    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
                    answer(StreamOwned::new(connection, stream?), &shared)
                });
            }
        });
        policies
    }

    /// What `mta-sts.DOMAIN` says from now on.
    pub fn publish(&self, domain: &str, mode: &str, mx: &[&str]) {
        let mx: String = mx.iter().map(|mx| format!("mx: {mx}\r\n")).collect();
        let text = format!("version: STSv1\r\nmode: {mode}\r\n{mx}max_age: 604800\r\n");
        self.shared.lock().unwrap().texts.insert(format!("mta-sts.{domain}"), text);
    }

    /// Whether connections are closed without a word.
    pub fn away(&self, away: bool) {
        self.shared.lock().unwrap().away = away;
    }

    pub fn connections(&self) -> usize {
        self.shared.lock().unwrap().connections
    }

    /// How often the policy of this domain was asked for.
    pub fn asked(&self, domain: &str) -> usize {
        let host = format!("mta-sts.{domain}");
        self.shared.lock().unwrap().asked.iter().filter(|asked| **asked == host).count()
    }
}

fn answer(mut stream: StreamOwned<ServerConnection, TcpStream>, shared: &Mutex<State>) -> io::Result<()> {
    stream.sock.set_read_timeout(Some(PATIENCE))?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        stream.read_exact(&mut octet)?;
        request.extend(octet);
    }
    let request = String::from_utf8_lossy(&request).to_lowercase();
    let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default().to_owned();
    let found = {
        let mut state = shared.lock().unwrap();
        state.asked.push(host.clone());
        state.texts.get(&host).filter(|_| request.starts_with("get /.well-known/mta-sts.txt ")).cloned()
    };
    let (status, text) = found.map_or(("404 Not Found", String::new()), |text| ("200 OK", text));
    let length = text.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n");
    stream.write_all(format!("{head}Connection: close\r\n\r\n{text}").as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()
}
