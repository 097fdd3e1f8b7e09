//! The login: AUTH PLAIN (RFC 4616), or LOGIN for those who know nothing else.

use super::offers::Offers;
use crate::smtp::reply::Reply;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::VecDeque;

/// The longest command line, CRLF included (RFC 5321 section 4.5.3.1.4).
const LINE: usize = 512;

/// Credentials for a relay (`relay.via`).
#[derive(Clone)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password; never logged.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({})", self.user)
    }
}

/// What is said after AUTH.
#[derive(Clone)]
pub(super) struct Dialogue {
    /// Answers to the server's 334s.
    answers: VecDeque<String>,
    secrets: Vec<String>,
}

impl Dialogue {
    /// Writes AUTH, if the server knows a mechanism that we know.
    pub(super) fn begin(login: &Login, offers: &Offers, out: &mut Vec<u8>) -> Option<Dialogue> {
        let plain = STANDARD.encode(format!("\0{}\0{}", login.user, login.password));
        let [user, password] = [&login.user, &login.password].map(|text| STANDARD.encode(text));
        let secrets = vec![login.password.clone(), plain.clone(), password.clone()];
        let (line, answers) = match () {
            // RFC 4954 section 4: a response that makes the line too long waits for its 334.
            () if offers.auth_plain && plain.len() + "AUTH PLAIN \r\n".len() > LINE => {
                ("AUTH PLAIN\r\n".to_owned(), VecDeque::from([plain]))
            }
            () if offers.auth_plain => (format!("AUTH PLAIN {plain}\r\n"), VecDeque::new()),
            () if offers.auth_login => ("AUTH LOGIN\r\n".to_owned(), VecDeque::from([user, password])),
            () => return None,
        };
        out.extend_from_slice(line.as_bytes());
        Some(Dialogue { answers, secrets })
    }

    /// Whether there is an answer to a 334.
    pub(super) fn has_answer(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Writes it.
    pub(super) fn answer(&mut self, out: &mut Vec<u8>) {
        if let Some(answer) = self.answers.pop_front() {
            out.extend_from_slice(format!("{answer}\r\n").as_bytes());
        }
    }

    /// Whether words hold the password: some servers repeat what they did not understand.
    pub(super) fn tells(&self, words: &str) -> bool {
        const TELLING: usize = 8;
        let start = |secret: &String| secret.chars().take(TELLING).collect::<String>();
        self.secrets.iter().any(|secret| !secret.is_empty() && words.contains(&start(secret)))
    }

    /// The reply as it may be told.
    pub(super) fn discreet(&self, reply: Reply) -> Reply {
        match self.tells(&reply.text) {
            true => Reply { text: "(words that repeat the login)".into(), ..reply },
            false => reply,
        }
    }
}
