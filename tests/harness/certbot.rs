//! Certificates as certbot keeps them, and clients that look at what a door shows.

use super::pki::Shown;
use pillarbox::net::tls::pair::Facts;
use pillarbox::net::tls::{TlsClient, TlsStream};
use pillarbox::policy::tls::Demand;
use std::fs;
use std::io::{Error, Result};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// `live/NAME/fullchain.pem` and `privkey.pem`, which are links to `archive/NAME/fullchainN.pem` and so on.
pub struct Certbot {
    top: TempDir,
    name: &'static str,
}

impl Certbot {
    pub fn new(name: &'static str, first: &Shown) -> Certbot {
        let certbot = Certbot { top: tempfile::tempdir().unwrap(), name };
        fs::set_permissions(certbot.top.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for place in ["live", "archive"] {
            fs::create_dir_all(certbot.top.path().join(place).join(name)).unwrap();
            let private = fs::Permissions::from_mode(0o700);
            fs::set_permissions(certbot.top.path().join(place), private).unwrap();
        }
        certbot.renew(1, first);
        certbot
    }

    /// `/etc/letsencrypt`.
    pub fn top(&self) -> &Path {
        self.top.path()
    }

    pub fn live(&self, file: &str) -> PathBuf {
        self.top.path().join("live").join(self.name).join(file)
    }

    fn archive(&self, file: &str, number: u32) -> PathBuf {
        self.top.path().join("archive").join(self.name).join(format!("{file}{number}.pem"))
    }

    /// Both files, then both links, one after the other.
    pub fn renew(&self, number: u32, shown: &Shown) {
        self.store(number, shown);
        self.link("fullchain", number);
        self.link("privkey", number);
    }

    /// The files, which nothing leads to yet.
    pub fn store(&self, number: u32, shown: &Shown) {
        let key = self.archive("privkey", number);
        shown.write(&self.archive("fullchain", number), &key);
        fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Has a link lead to a renewal's file: as certbot does it, there is none for a moment.
    pub fn link(&self, file: &str, number: u32) {
        let link = self.live(&format!("{file}.pem"));
        let _ = fs::remove_file(&link);
        symlink(format!("../../archive/{}/{file}{number}.pem", self.name), link).unwrap();
    }

    /// Lines for server.toml.
    pub fn toml(&self) -> String {
        format!("[tls]\ncert = {:?}\nkey = {:?}", self.live("fullchain.pem"), self.live("privkey.pem"))
    }
}

/// Where a client comes in.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// Under TLS from the first octet.
    Implicit(SocketAddr),
    /// By STARTTLS.
    StartTls(SocketAddr),
}

/// A connection under TLS, greeted.
pub struct Client(BufReader<TlsStream<TcpStream>>);

impl Client {
    /// Asks for a name, and takes whatever certificate is shown.
    pub async fn connect(tls: &TlsClient, way: Way, name: &str) -> Result<Client> {
        let stream = match way {
            Way::Implicit(address) => TcpStream::connect(address).await?,
            Way::StartTls(address) => {
                let mut clear = BufReader::new(TcpStream::connect(address).await?);
                expect(&mut clear, "220").await?;
                ask(&mut clear, "EHLO client.example", "250").await?;
                ask(&mut clear, "STARTTLS", "220").await?;
                clear.into_inner()
            }
        };
        stream.set_nodelay(true)?;
        let patience = Duration::from_secs(20);
        let secured = tls.handshake(stream, &[name], &Demand::Encrypted, patience).await;
        let mut client = Client(BufReader::new(secured.map_err(|error| Error::other(error.0))?.0));
        if let Way::Implicit(_) = way {
            expect(&mut client.0, "220").await?;
        }
        client.ask("EHLO client.example", "250").await?;
        Ok(client)
    }

    pub async fn ask(&mut self, line: &str, prefix: &str) -> Result<()> {
        ask(&mut self.0, line, prefix).await
    }

    /// What the certificate says that was shown.
    pub fn facts(&self) -> Facts {
        let shown = self.0.get_ref().get_ref().1.peer_certificates().unwrap();
        Facts::of(&shown[0]).unwrap()
    }
}

async fn ask(
    stream: &mut BufReader<impl AsyncRead + AsyncWrite + Unpin>,
    line: &str,
    prefix: &str,
) -> Result<()> {
    stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).await?;
    stream.get_mut().flush().await?;
    expect(stream, prefix).await
}

async fn expect(stream: &mut BufReader<impl AsyncRead + Unpin>, prefix: &str) -> Result<()> {
    loop {
        let mut line = String::new();
        let patience = Duration::from_secs(20);
        tokio::time::timeout(patience, stream.read_line(&mut line)).await.map_err(Error::other)??;
        if !line.starts_with(prefix) {
            return Err(Error::other(format!("want {prefix}, got {line:?}")));
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}
