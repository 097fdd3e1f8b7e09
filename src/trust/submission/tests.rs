//! A letter, whole, from the client's hands to the decision: each rule, and each forgery that was thought of.

use super::*;
use crate::policy::submission::{Permit, decide};
use crate::smtp::reply::Reply;
use crate::trust::forge::{self, Table, key, wait};
use crate::trust::keys::{Algorithm, PrivateKey};
use crate::trust::seal::seal;
use crate::trust::sign;
use std::sync::LazyLock;

mod afar;
mod once;
mod plain;
mod sealed;
mod signatures;

/// Sun, 22 Nov 2026 10:00:00 UTC.
const NOW: i64 = 1_795_341_600;

const LETTER: &str = "From: Me <me@example.org>\r\nTo: you@example.net\r\nSubject: hello\r\n\
    Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\nHello you.\r\n";

static ME: LazyLock<PrivateKey> = LazyLock::new(|| key("me", "example.org", Algorithm::Rsa2048));
static ME_ED: LazyLock<PrivateKey> = LazyLock::new(|| key("me.ed25519", "example.org", Algorithm::Ed25519));
static BOSS: LazyLock<PrivateKey> = LazyLock::new(|| key("boss", "example.org", Algorithm::Ed25519));
static EVIL: LazyLock<PrivateKey> = LazyLock::new(|| key("x", "evil.example", Algorithm::Ed25519));

fn id(inode: u64) -> DirId {
    DirId { device: 1, inode }
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// me (with an alias `blog` and the selector `me.ed25519`) and boss live at example.org; boss at sub.example.org too.
struct House;

impl Owners for House {
    fn owner(&self, address: &Address) -> Result<Option<DirId>, StoreError> {
        Ok(match address.to_string().as_str() {
            "me@example.org" | "blog@example.org" => Some(id(1)),
            "boss@example.org" => Some(id(2)),
            _ => None,
        })
    }

    fn selector_owner(&self, domain: &Domain, selector: &str) -> Result<Option<DirId>, StoreError> {
        Ok(match (domain.as_str(), selector) {
            ("example.org", "me" | "me.ed25519") => Some(id(1)),
            ("example.org", "boss") => Some(id(2)),
            _ => None,
        })
    }
}

/// One attempt to submit.
struct Attempt {
    message: Vec<u8>,
    session: Session,
    keys: Table,
    now: i64,
}

fn seal_for(recipients: &[&str]) -> Seal {
    Seal {
        time: NOW,
        nonce: "00112233445566778899aabbccddeeff".into(),
        server: "mx.example.org".into(),
        sender: address("me@example.org"),
        recipients: recipients.iter().map(|recipient| address(recipient)).collect(),
    }
}

/// `letter` signed by `keys`.
fn signed(letter: &str, keys: &[&PrivateKey]) -> Vec<u8> {
    let mut message = sign::sign_at(letter.as_bytes(), keys, NOW).unwrap();
    message.extend_from_slice(letter.as_bytes());
    message
}

fn on_top(fields: impl AsRef<[u8]>, message: &[u8]) -> Vec<u8> {
    [fields.as_ref(), message].concat()
}

/// `message` sealed as our client does it.
fn sealed(message: Vec<u8>, key: &PrivateKey) -> Vec<u8> {
    on_top(seal(&message, &seal_for(&["you@example.net"]), key).unwrap(), &message)
}

fn attempt(message: Vec<u8>) -> Attempt {
    Attempt {
        message,
        session: Session {
            sender: address("me@example.org"),
            owner: id(1),
            mailbox: id(1),
            recipients: vec![address("you@example.net")],
            channel: Channel::Loopback,
            hostname: "mx.example.org".into(),
            accept: vec![Accept::Sealed],
        },
        keys: Table::default().publish(&ME).publish(&ME_ED).publish(&BOSS).publish(&EVIL),
        now: NOW,
    }
}

fn good() -> Attempt {
    attempt(sealed(signed(LETTER, &[&ME, &ME_ED]), &ME))
}

impl Attempt {
    fn gather(&self) -> Gathered {
        let message = &self.message;
        let end = message.windows(4).position(|four| four == b"\r\n\r\n").map_or(message.len(), |at| at + 4);
        let (header, body) = message.split_at(end);
        let mut gathering = Gathering::begin(header, self.session.clone(), &House).unwrap();
        body.chunks(5).for_each(|slice| gathering.body(slice));
        wait(gathering.finish(&self.keys, self.now))
    }

    fn decide(&self) -> Result<Accepted, Reply> {
        let accepted = decide(&self.gather().evidence)?;
        accepted.fresh(self.now)?;
        Ok(accepted)
    }

    #[track_caller]
    fn is_accepted(&self) -> Accepted {
        self.decide().unwrap_or_else(|reply| panic!("refused: {reply:?}"))
    }

    /// Refused for good, with a 5.7.x that says all of `words`.
    #[track_caller]
    fn is_refused(&self, words: &[&str]) {
        self.is_answered(550, words);
    }

    #[track_caller]
    fn is_answered(&self, code: u16, words: &[&str]) {
        let reply = self.decide().expect_err("it was accepted");
        assert_eq!((reply.code, reply.enhanced.map(|(_, subject, _)| subject)), (code, Some(7)), "{reply:?}");
        for word in words {
            assert!(reply.text.contains(word), "{word:?} is not in {:?}", reply.text);
        }
    }

    fn asked(&self) -> Vec<String> {
        self.keys.asked.lock().unwrap().clone()
    }
}
