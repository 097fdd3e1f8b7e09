//! Strangers' servers on loopback, each of which plays a part.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A server: what it says to what, beside what every server says.
#[derive(Clone, Default)]
pub(super) struct Server {
    offers: Vec<&'static str>,
    /// The beginning of a command (nothing: the connection itself), and the answer: a line, or one of `CLOSE`, `RESET`
    /// and `FLOOD`.
    answers: Vec<(&'static str, &'static str)>,
    /// The same, from the second letter of a connection on.
    later: Vec<(&'static str, &'static str)>,
    tls: Option<Tls>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Clone)]
enum Tls {
    Offered(TlsAcceptor),
    /// STARTTLS is answered with 220, and the handshake with this.
    Garbage,
}

#[derive(Default)]
struct Seen {
    clients: Vec<IpAddr>,
    lines: Vec<String>,
    letters: Vec<String>,
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}
type Line = BufReader<Box<dyn Duplex>>;

impl Server {
    pub(super) fn new() -> Server {
        Server { offers: vec!["PIPELINING", "8BITMIME"], ..Server::default() }
    }

    pub(super) fn says(mut self, to: &'static str, answer: &'static str) -> Server {
        self.answers.push((to, answer));
        self
    }

    /// What is said from the second letter of a connection on.
    pub(super) fn afterwards(mut self, to: &'static str, answer: &'static str) -> Server {
        self.later.push((to, answer));
        self
    }

    pub(super) fn offers(mut self, what: &'static str) -> Server {
        self.offers.push(what);
        self
    }

    pub(super) fn starttls(self, certificate: &Certificate) -> Server {
        Server { tls: Some(Tls::Offered(certificate.acceptor.clone())), ..self.offers("STARTTLS") }
    }

    pub(super) fn garbage(self) -> Server {
        Server { tls: Some(Tls::Garbage), ..self.offers("STARTTLS") }
    }

    pub(super) fn connections(&self) -> usize {
        self.clients().len()
    }

    /// Where connections came from.
    pub(super) fn clients(&self) -> Vec<IpAddr> {
        self.seen.lock().unwrap().clients.clone()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.seen.lock().unwrap().lines.clone()
    }

    pub(super) fn letters(&self) -> usize {
        self.seen.lock().unwrap().letters.len()
    }

    pub(super) fn last_letter(&self) -> String {
        self.seen.lock().unwrap().letters.last().unwrap().clone()
    }

    /// Waits until a command has come.
    pub(super) async fn hears(&self, command: &str) {
        let heard = async {
            while !self.lines().iter().any(|line| line == command) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), heard).await.expect(command);
    }

    async fn serve(mut self, tcp: TcpStream, client: SocketAddr) -> io::Result<()> {
        self.seen.lock().unwrap().clients.push(client.ip());
        if self.answers.iter().chain(&self.later).any(|(_, answer)| *answer == "RESET") {
            rustix::net::sockopt::set_socket_linger(&tcp, Some(Duration::ZERO))?;
        }
        let mut line: Line = BufReader::new(Box::new(tcp));
        if !self.answer(&mut line, "", "220 fake ESMTP").await? {
            return Ok(());
        }
        let (mut command, mut sender, mut recipients) = (String::new(), false, 0);
        while read(&mut line, &mut command).await? {
            self.seen.lock().unwrap().lines.push(command.clone());
            let verb = command.split([' ', ':']).next().unwrap_or_default();
            let usual = match verb {
                "EHLO" => self.hello(),
                "STARTTLS" => {
                    line.write_all(b"220 go on\r\n").await?;
                    line = self.secure(line).await?;
                    continue;
                }
                "RCPT" if !sender => "503 5.5.1 no sender".into(),
                "DATA" if recipients == 0 => "554 5.5.1 no recipients".into(),
                "DATA" => "354 go on".into(),
                "QUIT" => return Ok(()),
                _ => "250 2.0.0 fine".into(),
            };
            if !self.answer(&mut line, &command, &usual).await? {
                return Ok(());
            }
            let said = self.answer_to(&command).unwrap_or(&usual);
            match verb {
                "MAIL" => (sender, recipients) = (said.starts_with('2'), 0),
                "RCPT" if said.starts_with('2') => recipients += 1,
                _ => {}
            }
            if said.starts_with("354") {
                self.take(&mut line).await?;
                if !self.answer(&mut line, ".", "250 2.0.0 taken").await? {
                    return Ok(());
                }
                // From here on it is the second letter.
                self.answers.append(&mut self.later);
            }
        }
        Ok(())
    }

    fn hello(&self) -> String {
        let offers: String = self.offers.iter().map(|offer| format!("250-{offer}\r\n")).collect();
        format!("250-fake\r\n{offers}250 HELP")
    }

    fn answer_to(&self, command: &str) -> Option<&'static str> {
        let fits = |to: &str| if to.is_empty() { command.is_empty() } else { command.starts_with(to) };
        self.answers.iter().find(|(to, _)| fits(to)).map(|(_, answer)| *answer)
    }

    /// Whether to go on.
    async fn answer(&self, line: &mut Line, command: &str, usual: &str) -> io::Result<bool> {
        match self.answer_to(command).unwrap_or(usual) {
            "CLOSE" | "RESET" => return Ok(false),
            "FLOOD" => loop {
                line.write_all(b"220-and more\r\n").await?;
            },
            answer => line.write_all(format!("{answer}\r\n").as_bytes()).await?,
        }
        // A server that sends somebody away closes as well.
        Ok(!self.answer_to(command).is_some_and(|answer| answer.starts_with("421")))
    }

    async fn secure(&self, line: Line) -> io::Result<Line> {
        assert!(line.buffer().is_empty(), "nothing may be sent before the handshake");
        let mut stream = line.into_inner();
        match &self.tls {
            Some(Tls::Offered(acceptor)) => Ok(BufReader::new(Box::new(acceptor.accept(stream).await?))),
            _ => {
                stream.write_all(b"no TLS at all\r\n").await?;
                stream.shutdown().await?;
                Err(io::ErrorKind::InvalidData.into())
            }
        }
    }

    async fn take(&self, line: &mut Line) -> io::Result<()> {
        let (mut letter, mut text) = (String::new(), String::new());
        while read(line, &mut text).await? {
            if text == "." {
                self.seen.lock().unwrap().letters.push(letter);
                return Ok(());
            }
            letter.push_str(&text);
            letter.push('\n');
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

async fn read(line: &mut Line, text: &mut String) -> io::Result<bool> {
    text.clear();
    let there = line.read_line(text).await? > 0;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(there)
}

/// Opens servers at several addresses on one port, which it says.
pub(super) async fn open(servers: &[(&str, &Server)]) -> u16 {
    for _ in 0..100 {
        if let Some((port, listeners)) = listen(servers).await {
            for (listener, (_, server)) in listeners.into_iter().zip(servers) {
                let server = Server::clone(server);
                tokio::spawn(async move {
                    while let Ok((tcp, client)) = listener.accept().await {
                        tokio::spawn(server.clone().serve(tcp, client));
                    }
                });
            }
            return port;
        }
    }
    panic!("no port is free at all addresses");
}

async fn listen(servers: &[(&str, &Server)]) -> Option<(u16, Vec<TcpListener>)> {
    let (mut port, mut listeners) = (0, Vec::new());
    for (ip, _) in servers {
        let listener = TcpListener::bind((ip.parse::<IpAddr>().unwrap(), port)).await.ok()?;
        port = listener.local_addr().unwrap().port();
        listeners.push(listener);
    }
    Some((port, listeners))
}

/// An authority.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

/// What a server shows.
pub(super) struct Certificate {
    acceptor: TlsAcceptor,
    /// Its digest, for a TLSA record.
    pub(super) sha256: Vec<u8>,
}

impl Authority {
    /// No two have the same name: one that had would be taken for the other.
    pub(super) fn new() -> Authority {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let name = format!("authority {}", COUNT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), issuer.pem()).unwrap();
        Authority { issuer, file }
    }

    /// Its certificate, for who believes it.
    pub(super) fn file(&self) -> Option<PathBuf> {
        Some(self.file.path().to_owned())
    }

    pub(super) fn issue(&self, name: &str) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let own =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let chain = vec![own.der().clone()];
        let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, own.der()).as_ref().to_vec();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Certificate { acceptor: TlsAcceptor::from(Arc::new(config)), sha256 }
    }
}
