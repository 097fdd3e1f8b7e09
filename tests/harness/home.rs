//! A home: keys made by `key new`, published in the tests' DNS; letters signed and sealed by the library.

use super::{Dns, PILLARBOX, Server};
use pillarbox::mail::address::Address;
use pillarbox::trust::keys::PrivateKey;
use pillarbox::trust::seal::{Seal, nonce, seal};
use pillarbox::trust::sign::sign;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// A home directory for one address.
pub struct Home {
    pub root: TempDir,
    pub address: Address,
}

impl Home {
    /// Makes an RSA key and publishes it.
    pub fn new(dns: &Dns, address: &str) -> Home {
        let (home, record) = Home::with_key(address);
        dns.add(&record);
        home
    }

    /// The same, and `server` has a copy of the key: who comes from afar has to be told apart without DNS.
    pub fn pinned(dns: &Dns, address: &str, server: &Server) -> Home {
        let home = Home::new(dns, address);
        let (key, keys) = (home.key(), server.state_dir().join("keys"));
        std::fs::create_dir_all(&keys).unwrap();
        std::fs::write(keys.join(key.txt_name()), key.txt_record().unwrap()).unwrap();
        home
    }

    /// Makes an RSA key; the line of a zone that publishes it.
    pub fn with_key(address: &str) -> (Home, String) {
        let root = tempfile::Builder::new().prefix("pillarbox-home-").tempdir().unwrap();
        let home = Home { address: Address::parse(address).unwrap(), root };
        std::fs::write(home.config(), format!("mail = {:?}\n", home.mail())).unwrap();
        let made = home.command(&["key", "new", address, "--no-ed25519"], b"");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        (home, String::from_utf8(made.stdout).unwrap())
    }

    /// Submits and pulls through the gate of `server`, without ssh.
    pub fn use_server(&self, server: &Server) {
        let gate = |verb: &str| {
            let domain = self.address.domain().unwrap();
            format!("[{PILLARBOX:?}, \"--config\", {:?}, \"gate\", {verb:?}, \"{domain}\"]", server.config())
        };
        let config = format!(
            "server = \"here\"\nmail = {:?}\noutbox = {:?}\nsubmit_via = {}\npull_via = {}\nqueue_via = {}\n",
            self.mail(),
            self.root.path().join("outbox"),
            gate("submit"),
            gate("export"),
            gate("queue")
        );
        std::fs::write(self.config(), config).unwrap();
    }

    pub fn config(&self) -> PathBuf {
        self.root.path().join("home.toml")
    }

    /// The permanent Maildirs and the keys.
    pub fn mail(&self) -> PathBuf {
        self.root.path().join("mail")
    }

    /// Runs a pillarbox command with this home's configuration and `input` on its stdin.
    pub fn command(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new(PILLARBOX)
            .arg("--config")
            .arg(self.config())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Who needs no input may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    pub fn key(&self) -> PrivateKey {
        let file = self.mail().join(format!("{}-dkim.pem", self.address));
        PrivateKey::load(&file, self.address.local(), self.address.domain().unwrap()).unwrap()
    }

    /// The letter under its public signature.
    pub fn signed(&self, letter: &[u8]) -> Vec<u8> {
        let mut signed = sign(letter, &[&self.key()]).unwrap();
        signed.extend_from_slice(letter);
        signed
    }

    /// The letter signed, and sealed for `server` and `to` at this minute.
    pub fn sealed(&self, letter: &[u8], server: &str, to: &[&str]) -> Vec<u8> {
        self.sealed_as(letter, &self.seal_for(server, to))
    }

    /// The letter signed, under a seal that may be any.
    pub fn sealed_as(&self, letter: &[u8], said: &Seal) -> Vec<u8> {
        let signed = self.signed(letter);
        let mut sealed = seal(&signed, said, &self.key()).unwrap();
        sealed.extend_from_slice(&signed);
        sealed
    }

    /// A true seal, to be sealed with or to be forged.
    pub fn seal_for(&self, server: &str, to: &[&str]) -> Seal {
        Seal {
            time: now(),
            nonce: nonce().unwrap(),
            server: server.into(),
            sender: self.address.clone(),
            recipients: to.iter().map(|to| Address::parse(to).unwrap()).collect(),
        }
    }
}

/// A letter that a sane author would write.
pub fn letter(from: &str, to: &str, subject: &str) -> Vec<u8> {
    let date = jiff::fmt::rfc2822::to_string(&jiff::Zoned::now()).unwrap();
    let id = nonce().unwrap();
    format!(
        "Date: {date}\r\nFrom: {from}\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <{id}@tests.example>\r\n\r\n\
         Hello.\r\n"
    )
    .into_bytes()
}

/// Unix time in seconds.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed()
}
