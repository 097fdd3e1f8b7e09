//! The beginning: the greeting, EHLO (and HELO for those who do not know it), STARTTLS, the login.

use super::auth::{Dialogue, Login};
use super::offers::Offers;
use super::words::shown;
use super::{Fate, Peer};
use crate::smtp::reply::Reply;

/// How a session is to be begun.
#[derive(Clone, Debug)]
pub struct Hello {
    /// What we call ourselves in EHLO.
    pub helo: String,
    /// What is to be done for its privacy.
    pub privacy: Privacy,
    /// Who logs in, if anybody: under TLS, never in clear.
    pub login: Option<Login>,
}

/// How a session comes by its privacy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privacy {
    /// Not at all: STARTTLS is not said.
    Unasked,
    /// By STARTTLS where that is offered, else in clear.
    IfOffered,
    /// By STARTTLS or not at all.
    Demanded,
    /// It is under TLS already.
    Given,
}

/// Why a connection cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It refused us for good (5xx to the greeting, or to EHLO and HELO), in its words.
    Refused(Reply),
    /// It put us off, broke, did not answer, or does not take the login: a sentence.
    Deferred(String),
    /// It does not offer the TLS that is demanded, or refuses STARTTLS: a sentence.
    NoTls(String),
    /// The handshake failed, or its certificate is not what is demanded: a sentence. Where TLS is only asked for if it is
    /// offered, the caller may connect anew and not ask for it.
    Handshake(String),
}

impl Trouble {
    /// What it means for a letter that was to go over the connection.
    pub fn fate(self) -> Fate {
        match self {
            Trouble::Refused(reply) => Fate::Refused(reply),
            Trouble::Deferred(why) | Trouble::NoTls(why) | Trouble::Handshake(why) => Fate::Deferred(why),
        }
    }
}

#[derive(Clone)]
pub(super) struct Opening {
    hello: Hello,
    stage: Stage,
    clear: Option<String>,
}

#[derive(Clone)]
enum Stage {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Auth(Dialogue),
}

/// What a reply leads to.
pub(super) enum Next {
    More,
    Ready,
    Handshake(Hello),
    /// There is no session to be had; the server is told so.
    Quit(Trouble),
    /// Likewise, and there is nothing more to say.
    HangUp(Trouble),
}

impl Opening {
    /// Waits for the greeting.
    pub(super) fn greeted(hello: Hello) -> Opening {
        Opening { hello, stage: Stage::Greeting, clear: None }
    }

    /// Begins anew after the handshake, without a greeting (RFC 3207 section 4.2).
    pub(super) fn secured(hello: Hello, out: &mut Vec<u8>) -> Opening {
        let mut opening = Opening::greeted(hello);
        opening.hello("EHLO", Stage::Ehlo, out);
        opening
    }

    pub(super) fn why_clear(&self) -> Option<&str> {
        self.clear.as_deref()
    }

    pub(super) fn awaited(&self) -> &'static str {
        match &self.stage {
            Stage::Greeting => "the greeting",
            Stage::Ehlo => "the reply to EHLO",
            Stage::Helo => "the reply to HELO",
            Stage::StartTls => "the reply to STARTTLS",
            Stage::Auth(_) => "the reply to AUTH",
        }
    }

    /// The connection is of no more use. A server that breaks at STARTTLS may do better without.
    pub(super) fn broken(&self, why: String) -> Trouble {
        match &self.stage {
            Stage::StartTls => Trouble::Handshake(why),
            Stage::Auth(dialogue) if dialogue.tells(&why) => {
                Trouble::Deferred("what the server said to AUTH repeats the login".into())
            }
            _ => Trouble::Deferred(why),
        }
    }

    pub(super) fn take(&mut self, reply: Reply, peer: &mut Peer, out: &mut Vec<u8>) -> Next {
        let reply = match &self.stage {
            Stage::Auth(dialogue) => dialogue.discreet(reply),
            _ => reply,
        };
        if reply.code == 421 {
            return Next::HangUp(self.broken(self.quoted(peer, &reply)));
        }
        match (&mut self.stage, reply.code) {
            (Stage::Greeting, 220) => {
                peer.name = first_word(&reply);
                self.hello("EHLO", Stage::Ehlo, out);
                Next::More
            }
            (Stage::Ehlo, 200..300) => {
                peer.offers = Offers::of(&reply);
                self.helloed(&reply, peer, out)
            }
            (Stage::Helo, 200..300) => self.helloed(&reply, peer, out),
            // RFC 5321 section 3.2: who does not know EHLO may know HELO.
            (Stage::Ehlo, 500..) => {
                self.hello("HELO", Stage::Helo, out);
                Next::More
            }
            (Stage::StartTls, 220) => Next::Handshake(self.hello.clone()),
            (Stage::StartTls, 400..) if self.hello.privacy == Privacy::IfOffered => {
                self.clear = Some(format!("refused: {}", shown(&reply)));
                self.login(peer, out)
            }
            (Stage::StartTls, 400..) => Next::Quit(Trouble::NoTls(self.quoted(peer, &reply))),
            // Nobody can know which of the two it speaks now.
            (Stage::StartTls, _) => Next::HangUp(Trouble::Handshake(self.quoted(peer, &reply))),
            (Stage::Auth(dialogue), 334) if dialogue.has_answer() => {
                dialogue.answer(out);
                Next::More
            }
            (Stage::Auth(_), 235) => Next::Ready,
            // That is the owner's to correct, and no letter's fault.
            (Stage::Auth(_), _) => {
                Next::Quit(Trouble::Deferred(format!("{} ({CORRECT})", self.quoted(peer, &reply))))
            }
            (_, 500..) => Next::Quit(Trouble::Refused(reply)),
            _ => Next::Quit(Trouble::Deferred(self.quoted(peer, &reply))),
        }
    }

    fn hello(&mut self, verb: &str, stage: Stage, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{verb} {}\r\n", self.hello.helo).as_bytes());
        self.stage = stage;
    }

    fn helloed(&mut self, reply: &Reply, peer: &mut Peer, out: &mut Vec<u8>) -> Next {
        if peer.name.is_none() {
            peer.name = first_word(reply);
        }
        match (self.hello.privacy, peer.offers.starttls) {
            (Privacy::Given, _) => {}
            (Privacy::Unasked, _) => self.clear = Some("not asked for".into()),
            (_, true) => {
                out.extend_from_slice(b"STARTTLS\r\n");
                self.stage = Stage::StartTls;
                return Next::More;
            }
            (Privacy::IfOffered, false) => self.clear = Some("not offered".into()),
            (Privacy::Demanded, false) => {
                return Next::Quit(Trouble::NoTls(format!("{} does not offer STARTTLS", peer.called())));
            }
        }
        self.login(peer, out)
    }

    fn login(&mut self, peer: &Peer, out: &mut Vec<u8>) -> Next {
        let Some(login) = &self.hello.login else { return Next::Ready };
        if let Some(clear) = &self.clear {
            let why = format!("{} gets no password in clear (TLS was {clear})", peer.called());
            return Next::Quit(Trouble::NoTls(why));
        }
        match Dialogue::begin(login, &peer.offers, out) {
            Some(dialogue) => {
                self.stage = Stage::Auth(dialogue);
                Next::More
            }
            None => {
                let why = format!("{} offers no AUTH PLAIN or LOGIN ({CORRECT})", peer.called());
                Next::Quit(Trouble::Deferred(why))
            }
        }
    }

    fn quoted(&self, peer: &Peer, reply: &Reply) -> String {
        let what = match &self.stage {
            Stage::Greeting => "greeted".to_owned(),
            _ => format!("answered {}", self.awaited().trim_start_matches("the reply to ")),
        };
        peer.said(&what, reply)
    }
}

const CORRECT: &str = "correct relay.user and relay.password_file, or relay.password_command";

fn first_word(reply: &Reply) -> Option<String> {
    Some(reply.text.split_ascii_whitespace().next().unwrap_or_default().to_owned())
}
