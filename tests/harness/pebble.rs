//! Debian's pebble, an ACME authority for tests, on ports of its own; and what may stand between it and us.

use super::pki::{Pki, Shown};
use super::tls::{Private, handshake};
use super::{Dns, PATIENCE, eventually};
use rustls::{ServerConnection, StreamOwned};
use rustls_pki_types::CertificateDer;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// The authority's name.
pub const NAME: &str = "ca.example";

/// An authority that is about to be started.
pub struct Authority {
    validity: u64,
    sleep: u64,
    nonces: u8,
}

/// One that runs. Dropping it ends it.
pub struct Pebble {
    /// Where it listens.
    pub port: u16,
    /// The port that it asks at.
    pub asks: u16,
    root: TempDir,
    pki: Pki,
    shown: Shown,
    dns: SocketAddr,
    settings: Authority,
    child: Option<Child>,
}

/// A port that nobody listens at.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Authority {
    /// Its certificates live so many seconds; it refuses half of all nonces.
    pub fn with_lives_of(validity: u64) -> Authority {
        Authority { validity, sleep: 0, nonces: 50 }
    }

    /// It thinks for up to so many seconds before it asks.
    pub fn thinking(self, seconds: u64) -> Authority {
        Authority { sleep: seconds, ..self }
    }

    /// Refuses no nonces.
    pub fn patient(self) -> Authority {
        Authority { nonces: 0, ..self }
    }

    pub fn start(self, dns: &Dns) -> Pebble {
        dns.add(&format!("{NAME}. 60 IN A 127.0.0.1\n"));
        let pki = Pki::new();
        let shown = pki.host(&[NAME]);
        let root = tempfile::Builder::new().prefix("pillarbox-pebble-").tempdir().unwrap();
        shown.write(&root.path().join("cert.pem"), &root.path().join("key.pem"));
        let mut pebble = Pebble {
            port: free_port(),
            asks: free_port(),
            root,
            pki,
            shown,
            dns: dns.address(),
            settings: self,
            child: None,
        };
        pebble.run();
        pebble
    }
}

impl Pebble {
    /// Starts it, at the same port as before and without any memory.
    pub fn run(&mut self) {
        let config = serde_json::json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.port),
            "managementListenAddress": "127.0.0.1:0",
            "certificate": self.root.path().join("cert.pem"),
            "privateKey": self.root.path().join("key.pem"),
            "httpPort": self.asks,
            "tlsPort": 1,
            "certificateValidityPeriod": self.settings.validity,
        }});
        let file = self.root.path().join("config.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let log = File::options().append(true).create(true).open(self.root.path().join("log")).unwrap();
        let mut command = Command::new("/usr/bin/pebble");
        command.arg("-config").arg(file).arg("-dnsserver").arg(self.dns.to_string());
        command.env("PEBBLE_WFE_NONCEREJECT", self.settings.nonces.to_string()).env("PEBBLE_AUTHZREUSE", "0");
        match self.settings.sleep {
            0 => command.env("PEBBLE_VA_NOSLEEP", "1"),
            seconds => command.env("PEBBLE_VA_SLEEPTIME", seconds.to_string()),
        };
        let command = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().expect("pebble must be installed (tests/install)"));
        eventually("pebble to listen", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    /// The same, with certificates that live so many seconds.
    pub fn run_with_lives_of(&mut self, validity: u64) {
        self.settings.validity = validity;
        self.run();
    }

    /// Ends it.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// `[tls.acme]` for these names.
    pub fn table(&self, names: &[&str]) -> String {
        self.table_by(self.port, names)
    }

    /// The same by way of what listens at `port`.
    pub fn table_by(&self, port: u16, names: &[&str]) -> String {
        format!(
            "[tls.acme]\ndirectory = \"https://{NAME}:{port}/dir\"\ncontact = \"me@here.example\"\nnames = {names:?}\n\
             roots = {:?}\nlisten = [\"127.0.0.1:{}\"]\n",
            self.pki.roots(),
            self.asks
        )
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.root.path().join("log")).unwrap_or_default()
    }

    /// How many orders were placed with it.
    pub fn orders(&self) -> usize {
        self.log().matches("Added order ").count()
    }

    /// Something between it and us, which may change what it says.
    pub fn behind(&self, change: impl Fn(&Exchange) -> Change + Send + Sync + 'static) -> Between {
        Between::start(self.port, &self.shown, change)
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("--- pebble's log\n{}---", self.log());
        }
    }
}

/// One request and pebble's answer.
pub struct Exchange {
    /// `POST /order-plz`.
    pub request: String,
    /// The answer's status.
    pub status: u16,
    /// Its header, as it came.
    pub head: String,
    /// Its content.
    pub body: Vec<u8>,
    /// How many requests came before this one.
    pub nth: usize,
}

/// What becomes of an answer.
pub enum Change {
    /// Nothing.
    None,
    /// Another status and content; the nonce stays.
    Other(u16, &'static str, Vec<u8>),
    /// Content without an end.
    Endless,
    /// No answer: the connection is cut.
    Cut,
}

/// A TLS proxy in front of pebble.
pub struct Between {
    /// Where it listens.
    pub port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Between {
    fn start(
        pebble: u16,
        shown: &Shown,
        change: impl Fn(&Exchange) -> Change + Send + Sync + 'static,
    ) -> Between {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let between = Between { port: listener.local_addr().unwrap().port(), requests: Arc::default() };
        let (change, requests, config) = (Arc::new(change), Arc::clone(&between.requests), shown.config());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (change, requests, config) =
                    (Arc::clone(&change), Arc::clone(&requests), Arc::clone(&config));
                std::thread::spawn(move || -> io::Result<()> {
                    let stream = stream?;
                    stream.set_read_timeout(Some(PATIENCE))?;
                    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
                    let client = StreamOwned::new(connection, stream);
                    hand_on(client, pebble, &requests, &*change)
                });
            }
        });
        between
    }

    /// The requests that came, as `POST /order-plz`.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn hand_on(
    mut client: StreamOwned<ServerConnection, TcpStream>,
    pebble: u16,
    requests: &Mutex<Vec<String>>,
    change: &(dyn Fn(&Exchange) -> Change + Send + Sync),
) -> io::Result<()> {
    let (head, body) = message(&mut client)?;
    let request = head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    let nth = {
        let mut requests = requests.lock().unwrap();
        requests.push(request.clone());
        requests.len() - 1
    };
    let mut exchange = Exchange { request, status: 0, head: String::new(), body: Vec::new(), nth };
    // Asked before pebble hears of it, with nothing in it: whoever cuts the way cuts it here.
    if matches!(change(&exchange), Change::Cut) {
        return Ok(());
    }
    let mut server = connect(pebble)?;
    server.write_all(head.as_bytes())?;
    server.write_all(&body)?;
    server.flush()?;
    let mut answer = Vec::new();
    // Pebble closes without a farewell at times.
    let _ = server.read_to_end(&mut answer);
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    exchange.head = String::from_utf8_lossy(&answer[..split]).into_owned();
    exchange.body = answer[split..].to_vec();
    exchange.status = exchange.head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
    match change(&exchange) {
        Change::None => client.write_all(&answer)?,
        Change::Other(status, kind, body) => {
            let kept = |line: &&str| {
                let line = line.to_ascii_lowercase();
                line.starts_with("replay-nonce:") || line.starts_with("location:")
            };
            let kept: String = exchange.head.lines().filter(kept).map(|line| format!("{line}\r\n")).collect();
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{kept}Retry-After: 1\r\n\r\n"
            );
            client.write_all(head.as_bytes())?;
            client.write_all(&body)?;
        }
        Change::Endless => {
            client.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")?;
            while client.write_all(&[b'x'; 8192]).is_ok() {}
        }
        Change::Cut => return Ok(()),
    }
    client.conn.send_close_notify();
    client.flush()
}

/// A header and a content of its length.
fn message(stream: &mut impl Read) -> io::Result<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        stream.read_exact(&mut octet)?;
        head.extend(octet);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    Ok((head, body))
}

fn connect(port: u16) -> io::Result<Private> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    handshake(stream, NAME)
}

/// The certificate that a server shows for a name, DER.
pub fn shown_at(address: SocketAddr, name: &str) -> Vec<u8> {
    let stream = handshake(TcpStream::connect(address).unwrap(), name).unwrap();
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

/// Reads a certificate in PEM: the first of the file.
pub fn first_of(file: &Path) -> Option<Vec<u8>> {
    use rustls_pki_types::pem::PemObject;
    CertificateDer::from_pem_file(file).ok().map(|certificate| certificate.to_vec())
}
