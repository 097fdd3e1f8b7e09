//! What would become of a letter: the session of the doors, driven by a question instead of a socket. Nothing is stored,
//! recorded or counted.

use super::connection::{AFTER_THE_DOT, Peer};
use super::examine::Examined;
use super::filter::Filter;
use super::inquiry::Client;
use super::mx::{self, Judged};
use super::parcel::{Desk, Parcel};
use super::premises::Premises;
use super::recipients::{KnownRecipient, Transaction};
use super::{replies, submission};
use crate::config;
use crate::error::{Exit, Failure};
use crate::mail::address::Address;
use crate::mail::envelope::ReversePath;
use crate::net::dns::Dns;
use crate::policy::inbound::Evidence;
use crate::smtp::Door;
use crate::smtp::data::{Piece, Reader, Stuffer};
use crate::smtp::reply::Reply;
use crate::smtp::server::{Session, Settings, Step, Tls};
use crate::store::letter::SpillRoom;
use crate::store::tree::Store;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

mod envelope;

/// Octets of a body that are kept in memory.
const SPILL: usize = 256 << 10;

/// Which letter.
#[derive(Clone, Debug)]
pub struct Question {
    /// The door that it comes to.
    pub door: Door,
    /// Who brings it.
    pub ip: IpAddr,
    /// What he calls himself.
    pub helo: String,
    /// MAIL FROM.
    pub sender: ReversePath,
    /// RCPT TO.
    pub recipient: Address,
    /// The letter with CRLF line ends; none: as far as its envelope.
    pub message: Option<Vec<u8>>,
}

/// What would become of it.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// `deliver`, `relay`, `junk`, `defer` or `refuse`.
    pub decision: &'static str,
    /// The last reply that the client would see.
    pub reply: String,
    /// How it came about, a line each.
    pub steps: Vec<String>,
    /// What was found out about a stranger's letter; without the letter, of its envelope.
    pub evidence: Option<Evidence>,
}

/// What the server of `config` would do, with its filter. An error is one of the configuration; a fault of store or DNS is part
/// of the answer.
pub async fn explain(
    config: config::Server,
    question: Question,
    filter: Option<Filter>,
) -> Result<Explanation, Failure> {
    let fault = |error: &dyn std::fmt::Display| Failure::new(Exit::TempFail, error.to_string());
    let separators = &config.inbound.topic_separators;
    let store =
        Store::look(&config.mail_root, &config.state_dir, separators).map_err(|error| fault(&error))?;
    let dns = Dns::new(&config.dns).map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
    let room = SpillRoom::open(&std::env::temp_dir(), SPILL, SPILL).map_err(|error| fault(&error))?;
    let premises = Arc::new(Premises::new(config, store, dns)?);
    Ok(Conversation::new(premises, question, filter).run(Desk::new(room)).await)
}

/// The question on its way through the session.
struct Conversation {
    premises: Arc<Premises>,
    question: Question,
    session: Session,
    transaction: Transaction,
    steps: Vec<String>,
    reply: Option<Reply>,
    evidence: Option<Evidence>,
    junk: bool,
    recipient: Option<KnownRecipient>,
    filter: Option<Filter>,
}

impl Conversation {
    fn new(premises: Arc<Premises>, question: Question, filter: Option<Filter>) -> Conversation {
        let limits = &premises.config.limits;
        let mut session = Session::new(Settings {
            hostname: premises.name.to_string(),
            door: question.door,
            message_size: limits.message_size,
            recipients: limits.recipients,
            command_timeout: Duration::from_secs(limits.command_timeout),
            tls: Tls::Unavailable,
        });
        session.take_output();
        let peer = Peer { door: question.door, ip: Some(question.ip), allowed: None, afar: false };
        Conversation {
            transaction: Transaction::new(Arc::clone(&premises), peer),
            premises,
            question,
            session,
            steps: Vec::new(),
            reply: None,
            evidence: None,
            junk: false,
            recipient: None,
            filter,
        }
    }

    async fn run(mut self, desk: Desk) -> Explanation {
        self.hello().await;
        let mail = self.say(&mail(&self.question)).await;
        let ours = self.transaction.sender().map(|sender| sender.ours);
        self.steps.extend(envelope::told(&self.premises, &self.question, ours).await);
        let envelope = mail && self.say(&rcpt(&self.question)).await;
        // What the verdict would look at is of interest also where nobody gets that far.
        match self.question.message.take() {
            Some(message) if envelope => self.letter(message, desk).await,
            Some(message) if self.question.door == Door::Mx => self.look_at_letter(&message, desk).await,
            _ => self.look_at_client().await,
        }
        self.conclude()
    }

    async fn hello(&mut self) {
        let Question { door, ip, helo, .. } = &self.question;
        let door = if *door == Door::Mx { "mx, strangers' door" } else { "submission, the owner's door" };
        self.steps.push(format!("door: {door}; the client is {ip} and says EHLO {helo}"));
        let line = format!("EHLO {helo}");
        self.say(&line).await;
    }

    /// Says one command; whether it was taken.
    async fn say(&mut self, line: &str) -> bool {
        self.session.feed(format!("{line}\r\n").as_bytes());
        loop {
            match self.session.step() {
                Step::Read | Step::StartTls | Step::Close => break,
                Step::Mail(sender) => {
                    let sender = sender.clone();
                    let reply = self.transaction.mail(sender).await;
                    self.answered(reply);
                }
                Step::Rcpt(recipient) => {
                    let recipient = recipient.clone();
                    let reply = self.transaction.rcpt(recipient, &self.question.helo).await;
                    self.recipient = self.transaction.recipients().last().cloned();
                    self.answered(reply);
                }
                Step::Data => self.answered(replies::start_data()),
                Step::Body(_) | Step::EndOfData(_) | Step::Reset => {}
            }
        }
        self.heard(line)
    }

    fn answered(&mut self, reply: Reply) {
        self.reply = Some(reply.clone());
        self.session.answer(reply);
    }

    /// Notes what the client would see; whether that is positive.
    fn heard(&mut self, said: &str) -> bool {
        let output = String::from_utf8_lossy(&self.session.take_output()).into_owned();
        let verb = said.split_whitespace().next().unwrap_or_default();
        let lines: Vec<&str> = output.lines().collect();
        if verb != "EHLO" || !output.starts_with('2') {
            self.steps.push(format!("{said} → {}", lines.join(" / ")));
        }
        let positive = output.starts_with(['2', '3']);
        if !positive && let Some(reply) = read(&lines) {
            self.reply = Some(reply);
        }
        positive
    }

    async fn look_at_client(&mut self) {
        if self.question.door == Door::Mx {
            let known = self.client().look_at(&self.premises, &self.transaction.dns, now()).await;
            let rules = self.premises.rules.clone();
            self.told(Evidence::of_envelope(rules, known.peer, known.spf));
        }
    }

    /// A letter that nobody would hear of, since its envelope is refused.
    async fn look_at_letter(&mut self, message: &[u8], desk: Desk) {
        self.steps
            .push("the letter is refused with its envelope; what follows was looked at all the same".into());
        let mut parcel = Parcel::new(Arc::clone(&self.premises), desk);
        let (stuffed, mut reader) = (stuffed(message), Reader::new());
        let mut rest = stuffed.as_slice();
        while let (count, Piece::Body(slice)) = reader.next(rest) {
            parcel.body(slice, &self.transaction).await;
            rest = rest.get(count..).unwrap_or_default();
        }
        let greeting = Some((self.question.helo.clone(), true));
        let mut done = self.transaction.finish(greeting, reader.facts());
        done.inquiry = Some(self.client().inquire(Arc::clone(&self.premises), done.dns.clone(), now()));
        let judged = mx::judge("explained", parcel, &mut done, None).await;
        self.examined(judged.examined);
    }

    fn client(&self) -> Client {
        let Question { ip, helo, sender, .. } = &self.question;
        Client { ip: *ip, helo: helo.clone(), sender: sender.clone() }
    }

    fn examined(&mut self, examined: Option<Examined>) {
        let Some(Examined { evidence, decision }) = examined else { return };
        self.told(evidence);
        self.steps.extend(decision.steps.iter().map(|step| {
            let said = step.said.as_deref().unwrap_or("nothing to say");
            format!("rule \"{}\": {said}", step.rule)
        }));
    }

    fn told(&mut self, evidence: Evidence) {
        self.steps.extend(evidence.told());
        self.evidence = Some(evidence);
    }

    async fn letter(&mut self, message: Vec<u8>, desk: Desk) {
        if !self.say("DATA").await {
            return;
        }
        let stuffed = stuffed(&message);
        let mut parcel = Some(Parcel::new(Arc::clone(&self.premises), desk));
        self.session.feed(&stuffed);
        loop {
            match self.session.step() {
                Step::Read | Step::StartTls | Step::Close => break,
                Step::Body(slice) => {
                    if let Some(parcel) = &mut parcel {
                        parcel.body(slice, &self.transaction).await;
                    }
                }
                Step::EndOfData(facts) => {
                    let greeting = Some((self.question.helo.clone(), true));
                    let done = self.transaction.finish(greeting, facts);
                    let reply = match parcel.take() {
                        Some(parcel) => {
                            let judged = timeout(AFTER_THE_DOT, self.judge(parcel, done)).await;
                            judged.unwrap_or_else(|_| replies::too_slow())
                        }
                        None => replies::broken(),
                    };
                    self.answered(reply);
                }
                Step::Reset => parcel = None,
                Step::Mail(_) | Step::Rcpt(_) | Step::Data => self.session.answer(replies::broken()),
            }
        }
        self.heard("the letter and its final dot");
    }

    async fn judge(&mut self, parcel: Parcel, mut done: super::recipients::Finished) -> Reply {
        if self.question.door == Door::Submission {
            return match submission::judge(parcel, &done).await {
                Ok(letter) => {
                    self.steps.push(format!("the seven rules: signed by {}", letter.accepted.by));
                    self.steps.push(
                        "whether this very letter was submitted before, and whether its time is right, is asked when \
                         it is queued"
                            .into(),
                    );
                    replies::queued("(none: this is an explanation)")
                }
                Err(refused) => refused.reply,
            };
        }
        let filter = self.filter.take();
        let judged = mx::judge("explained", parcel, &mut done, filter.as_ref()).await;
        let Judged { letter, examined, filtered } = judged;
        self.examined(examined);
        self.steps.extend(filtered);
        match letter {
            Ok(letter) => {
                self.junk = letter.junk;
                self.steps.push(self.place());
                replies::stored("(none: this is an explanation)")
            }
            Err(reply) => reply,
        }
    }

    /// Where the letter would lie.
    fn place(&self) -> String {
        let Some(mailbox) = self.recipient.as_ref().and_then(|known| known.mailbox.as_ref()) else {
            return String::new();
        };
        if !self.junk {
            return format!("it would lie in {}/new", mailbox.label);
        }
        match self.premises.store.junk(mailbox) {
            Ok(Some(junk)) => format!("junk: it would lie in {}/new", junk.label),
            Ok(None) => {
                format!(
                    "junk: there is no directory \"junk\" of that address, so it would lie in {}/new",
                    mailbox.label
                )
            }
            Err(error) => format!("junk: {error}"),
        }
    }

    fn conclude(self) -> Explanation {
        let reply = self.reply.unwrap_or_else(replies::broken);
        let relayed = self.recipient.is_some_and(|known| known.mailbox.is_none());
        let decision = match reply.code {
            400..=499 => "defer",
            500.. => "refuse",
            _ if self.junk => "junk",
            _ if relayed => "relay",
            _ => "deliver",
        };
        let mut text = Vec::new();
        reply.encode(&mut text);
        let reply = String::from_utf8_lossy(&text).trim_end().replace("\r\n", "\n");
        Explanation { decision, reply, steps: self.steps, evidence: self.evidence }
    }
}

/// The letter as it would come over the wire; one that nobody may send so, as somebody would send it who does not care.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(message.len() + 16);
    let mut stuffer = Stuffer::new();
    match stuffer.push(message, &mut stuffed).and_then(|()| stuffer.finish(&mut stuffed)) {
        Ok(()) => stuffed,
        Err(_) => [message, b"\r\n.\r\n"].concat(),
    }
}

fn mail(question: &Question) -> String {
    let utf8 =
        question.sender.address().is_some_and(Address::needs_smtputf8) || question.recipient.needs_smtputf8();
    format!("MAIL FROM:<{}>{}", question.sender, if utf8 { " SMTPUTF8" } else { "" })
}

fn rcpt(question: &Question) -> String {
    format!("RCPT TO:<{}>", question.recipient)
}

/// A reply that the session gave by itself. Where it closes after that, its farewell says nothing of the letter.
fn read(lines: &[&str]) -> Option<Reply> {
    let last = lines.iter().position(|line| line.get(3..4) != Some("-"))?;
    let code = lines.get(last)?.get(..3)?.parse().ok()?;
    let text: Vec<&str> = lines.iter().take(last + 1).filter_map(|line| line.get(4..)).collect();
    Some(Reply::plain(code, text.join("\n")))
}

fn now() -> i64 {
    super::house::unix_time().as_secs() as i64
}
