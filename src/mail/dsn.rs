//! Delivery status notifications (RFC 3461, 3464, 6533): what the sender reads when a letter does not arrive.
//!
//! They are only ever written into a Maildir on this host, so octets above 127 need no encoding.

use super::address::Address;
use super::date;
use super::envelope::{Notify, Recipient};
use super::header::split_lenient;

/// How much of a letter's Subject stands in a sentence, in characters.
const SUBJECT: usize = 100;

mod advice;
pub use advice::remedy;
#[cfg(test)]
mod tests;

/// What is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Given up.
    Failed,
    /// Late, and still tried until then (Unix seconds).
    Delayed {
        /// The end of the attempts.
        until: i64,
    },
    /// Delivered into a directory here (RFC 3461 section 5.2.3, "delivered").
    Delivered,
    /// Taken by a server that makes no reports itself (RFC 3461 section 5.2.2, "relayed").
    Relayed,
}

/// Why a recipient did not get the letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// RFC 3463 status, `(class, subject, detail)`.
    pub status: (u8, u16, u16),
    /// The other side's words, or ours.
    pub words: String,
    /// Who said them: the name of another host, or nobody but us.
    pub host: Option<String>,
}

impl Diagnosis {
    /// On one line: who, and the words. Words that begin with his name do not get it twice.
    pub fn line(&self) -> String {
        match &self.host {
            Some(host)
                if !self.words.strip_prefix(host.as_str()).is_some_and(|rest| rest.starts_with(' ')) =>
            {
                format!("{host}: {}", self.words)
            }
            _ => self.words.clone(),
        }
    }
}

/// What comes back with a report.
#[derive(Clone, Copy, Debug)]
pub enum Original<'a> {
    /// The letter's header block.
    Header(&'a [u8]),
    /// The whole letter (`RET=FULL`).
    Whole(&'a [u8]),
}

/// One report about one recipient.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// What is reported.
    pub kind: Kind,
    /// Our name.
    pub hostname: &'a str,
    /// The queue's name for the letter.
    pub id: &'a str,
    /// Who is told.
    pub sender: &'a Address,
    /// About whom.
    pub recipient: &'a Recipient,
    /// `ENVID=` of the submission.
    pub envid: Option<&'a str>,
    /// When the letter came to us, Unix seconds.
    pub arrived: i64,
    /// Now, Unix seconds.
    pub now: i64,
    /// Why.
    pub diagnosis: &'a Diagnosis,
    /// What comes back.
    pub original: Original<'a>,
}

/// Whether a recipient wants a report of this kind (RFC 3461 section 4.1; without `NOTIFY`: failures and delays).
pub fn is_wanted(kind: Kind, notify: Option<Notify>) -> bool {
    match (kind, notify) {
        (Kind::Failed | Kind::Delayed { .. }, None) => true,
        (Kind::Delivered | Kind::Relayed, None) => false,
        (Kind::Failed, Some(notify)) => notify.failure,
        (Kind::Delayed { .. }, Some(notify)) => notify.delay,
        (Kind::Delivered | Kind::Relayed, Some(notify)) => notify.success,
    }
}

impl Report<'_> {
    /// The whole report as a letter, CRLF lines.
    pub fn render(&self) -> Vec<u8> {
        let (kind, content) = match self.original {
            Original::Header(header) if header.is_ascii() => ("text/rfc822-headers", header),
            Original::Header(header) => ("message/global-headers", header),
            Original::Whole(letter) if has_ascii_header(letter) => ("message/rfc822", letter),
            // RFC 6533 section 5.
            Original::Whole(letter) => ("message/global", letter),
        };
        let boundary = self.boundary(content);
        let mut out = self.head(&boundary);
        let mut part = |kind: &str, content: &[u8]| {
            let encoding = if content.is_ascii() { "7bit" } else { "8bit" };
            out.extend_from_slice(format!("--{boundary}\r\nContent-Type: {kind}\r\n").as_bytes());
            out.extend_from_slice(format!("Content-Transfer-Encoding: {encoding}\r\n\r\n").as_bytes());
            out.extend_from_slice(content);
            out.extend_from_slice(b"\r\n");
        };
        let status = self.status();
        let form = if status.is_ascii() { "delivery-status" } else { "global-delivery-status" };
        part("text/plain; charset=utf-8", self.text().as_bytes());
        part(&format!("message/{form}"), status.as_bytes());
        part(kind, content);
        out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        out
    }

    fn head(&self, boundary: &str) -> Vec<u8> {
        let subject = match self.kind {
            Kind::Failed => "Your letter was not delivered",
            Kind::Delayed { .. } => "Your letter is late",
            Kind::Delivered => "Your letter was delivered",
            Kind::Relayed => "Your letter was handed over",
        };
        let local = self.action();
        let mut head = format!(
            "Date: {}\r\nFrom: Mail Delivery System <mailer-daemon@{host}>\r\nTo: {}\r\nSubject: {subject}: {}\r\n\
             Message-ID: <{}.{:x}.{local}@{host}>\r\n",
            date::rfc5322(self.now, 0),
            self.sender,
            self.recipient.address,
            self.id,
            self.now,
            host = self.hostname,
        );
        if let Some(original) = self.original_id() {
            head.push_str(&format!("In-Reply-To: {original}\r\nReferences: {original}\r\n"));
        }
        head.push_str(&format!(
            "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\"\r\n\r\n"
        ));
        head.into_bytes()
    }

    /// The letter's own Message-ID, so that the report stands beside it in the reader's mail program.
    fn original_id(&self) -> Option<String> {
        let (Original::Header(text) | Original::Whole(text)) = self.original;
        let header = split_lenient(text);
        let id = header.first("Message-ID")?.text();
        let id = id.trim();
        let fit = id.starts_with('<') && id.ends_with('>') && id.len() < 500;
        (fit && id.chars().all(|c| c.is_ascii_graphic())).then(|| id.to_owned())
    }

    /// For a person.
    fn text(&self) -> String {
        let (who, words) = (&self.recipient.address, quoted(&self.diagnosis.words));
        let sent = date::rfc5322(self.arrived, 0);
        let speaker = match &self.diagnosis.host {
            Some(host) => format!("The mail server {} said", one_line(host)),
            None => "The reason".to_owned(),
        };
        let (what, then) = match self.kind {
            Kind::Failed => (
                "could not be delivered to",
                "It is not tried any more. What you can do:\r\n\r\n".to_owned()
                    + &indented(advice::of(self.diagnosis)),
            ),
            Kind::Delayed { until } => ("has not been delivered yet to", self.until(until)),
            Kind::Delivered => ("was put into the mailbox of", String::new()),
            Kind::Relayed => (
                "was taken by the mail server of",
                "That server does not report on its own, so this is the last that you hear if all goes well.\r\n".into(),
            ),
        };
        let letter = match self.subject() {
            Some(subject) => format!("Your letter \"{subject}\" of {sent}"),
            None => format!("Your letter of {sent}"),
        };
        let what = wrapped(&format!("{letter} {what}"), 76).join("\r\n");
        format!("{what}\r\n\r\n    {who}\r\n\r\n{speaker}:\r\n\r\n{words}\r\n{then}")
    }

    /// By which the sender knows his letter.
    fn subject(&self) -> Option<String> {
        let (Original::Header(text) | Original::Whole(text)) = self.original;
        let subject = one_line(&split_lenient(text).first("Subject")?.decoded());
        let shown: String = subject.chars().take(SUBJECT).collect();
        let more = if shown.len() < subject.len() { "…" } else { "" };
        (!shown.is_empty()).then(|| shown + more)
    }

    fn until(&self, until: i64) -> String {
        let mut text = format!(
            "It is tried again and again until {};\r\n\
             you need not send it again. If it cannot be delivered by then, it comes back\r\nto you.\r\n",
            date::rfc5322(until, 0)
        );
        if let Some(remedy) = advice::remedy(&self.diagnosis.words) {
            text.push_str("\r\nWhat you can do meanwhile:\r\n\r\n");
            text.push_str(&indented(remedy));
        }
        text
    }

    /// RFC 3464 section 2.3.3.
    fn action(&self) -> &'static str {
        match self.kind {
            Kind::Failed => "failed",
            Kind::Delayed { .. } => "delayed",
            Kind::Delivered => "delivered",
            Kind::Relayed => "relayed",
        }
    }

    /// For a program (RFC 3464 section 2).
    fn status(&self) -> String {
        let (class, subject, detail) = self.diagnosis.status;
        let (action, class) = match self.kind {
            Kind::Failed => (self.action(), 5.max(class)),
            Kind::Delayed { .. } => (self.action(), 4),
            Kind::Delivered | Kind::Relayed => (self.action(), 2),
        };
        let mut out = format!("Reporting-MTA: dns; {}\r\n", self.hostname);
        if let Some(envid) = self.envid {
            out.push_str(&format!("Original-Envelope-Id: {}\r\n", one_line(envid)));
        }
        out.push_str(&format!("Arrival-Date: {}\r\n\r\n", date::rfc5322(self.arrived, 0)));
        if let Some(orcpt) = &self.recipient.orcpt {
            let (kind, text) = orcpt.split_once(';').unwrap_or(("rfc822", orcpt));
            out.push_str(&format!("Original-Recipient: {};{}\r\n", one_line(kind), one_line(text)));
        }
        let address = &self.recipient.address;
        let kind = if address.needs_smtputf8() { "utf-8" } else { "rfc822" };
        out.push_str(&format!("Final-Recipient: {kind}; {address}\r\n"));
        out.push_str(&format!("Action: {action}\r\nStatus: {class}.{subject}.{detail}\r\n"));
        let words = ascii(&one_line(&self.diagnosis.words));
        match &self.diagnosis.host {
            Some(host) => {
                out.push_str(&format!("Remote-MTA: dns; {}\r\n", one_line(host)));
                out.push_str(&folded("Diagnostic-Code: smtp; ", &words));
            }
            None => out.push_str(&folded("Diagnostic-Code: x-pillarbox; ", &words)),
        }
        if let Kind::Delayed { until } = self.kind {
            out.push_str(&format!("Will-Retry-Until: {}\r\n", date::rfc5322(until, 0)));
        }
        out
    }

    /// A line that does not occur in the content: what a letter says of itself must not end our part.
    fn boundary(&self, content: &[u8]) -> String {
        let mut boundary = format!("=_report_{}", self.id);
        let occurs = |text: &str| content.windows(text.len()).any(|window| window == text.as_bytes());
        while occurs(&boundary) {
            boundary.push_str("_x");
        }
        boundary
    }
}

fn has_ascii_header(letter: &[u8]) -> bool {
    letter.iter().take(split_lenient(letter).body_offset).all(u8::is_ascii)
}

/// A stranger's words as an indented block, long lines broken.
fn quoted(words: &str) -> String {
    let lines = words.lines().flat_map(|line| wrapped(&one_line(line), 72));
    lines.map(|line| format!("    {line}\r\n")).collect()
}

fn indented(text: &str) -> String {
    wrapped(text, 72).into_iter().map(|line| format!("    {line}\r\n")).collect()
}

/// Nothing in it ends a line or moves a cursor.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn ascii(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}

fn folded(name: &str, text: &str) -> String {
    let lines = wrapped(text, 74 - name.len().min(40));
    format!("{name}{}\r\n", lines.join("\r\n\t"))
}

/// Breaks at spaces where there are any, else within the word; never empty.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut column = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let pieces: Vec<char> = word.chars().collect();
        for (n, piece) in pieces.chunks(width).enumerate() {
            let space = usize::from(n == 0 && column > 0);
            if column + space + piece.len() > width || n > 0 {
                lines.push(String::new());
                column = 0;
            }
            if let Some(line) = lines.last_mut() {
                if column > 0 {
                    line.push(' ');
                    column += 1;
                }
                line.extend(piece);
                column += piece.len();
            }
        }
    }
    lines
}
