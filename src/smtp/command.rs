//! Command lines (RFC 5321 section 4.1).

mod parameters;

use super::Door;
use super::reply::{Reply, say};
use crate::mail::address::Address;
use crate::mail::envelope::{Recipient, ReversePath, Sender};

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// EHLO or HELO.
    Hello {
        /// What the client calls itself: printable ASCII without spaces, anything else is `?`.
        name: String,
        /// Whether it said EHLO.
        extended: bool,
    },
    /// MAIL FROM.
    Mail(Sender),
    /// RCPT TO.
    Rcpt(Recipient),
    /// DATA.
    Data,
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
    /// VRFY, whatever it asks about.
    Vrfy,
    /// EXPN.
    Expn,
    /// HELP.
    Help(Topic),
    /// STARTTLS.
    StartTls,
    /// AUTH.
    Auth,
    /// A known verb of an extension, or of an older SMTP, that is not offered.
    NotOffered(&'static str),
    /// The first line of another protocol.
    Foreign,
}

/// What HELP was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Nothing in particular.
    All,
    /// A command that is known here, as `HELP` lists it.
    Command(&'static say::Explained),
    /// Anything else.
    Unknown,
}

/// What a line's meaning depends on.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Our name: the domain of `<postmaster>` (RFC 5321 section 4.5.1).
    pub hostname: &'a str,
    /// Which door.
    pub door: Door,
    /// Whether MAIL had SMTPUTF8, so that RCPT may have it too.
    pub smtputf8: bool,
}

/// The longest path with its brackets; RFC 5321 section 4.5.3.1.3 wants 256, this leaves room for a long quoting.
const PATH: usize = 512;

/// Verbs of extensions and of RFC 821 that are known only to be refused as known ones are (RFC 5321 section 4.2.4).
const NOT_OFFERED: [&str; 8] = ["BDAT", "BURL", "ETRN", "ATRN", "TURN", "SEND", "SOML", "SAML"];

/// What a browser that was led to this port begins with; whoever leads it there writes the lines behind that. SMTP has no
/// such verbs.
const FOREIGN: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI"];

/// Reads one command line, without its CRLF. An error is the reply to give. White space at the end of the line is
/// tolerated (RFC 5321 section 4.1.1).
pub fn parse(line: &[u8], context: Context<'_>) -> Result<Command, Reply> {
    let line = trim_end(line);
    let (verb, rest) = match memchr::memchr(b' ', line) {
        Some(at) => (&line[..at], line[at..].trim_ascii()),
        None => (line, &line[line.len()..]),
    };
    let bare = |command: Command, verb: &str| match rest {
        [] => Ok(command),
        _ => Err(say::no_argument(verb)),
    };
    match verb.to_ascii_uppercase().as_slice() {
        b"EHLO" => hello(rest, true),
        b"HELO" => hello(rest, false),
        b"MAIL" => mail(std::str::from_utf8(rest).map_err(|_| say::mail_syntax())?, context),
        b"RCPT" => rcpt(std::str::from_utf8(rest).map_err(|_| say::rcpt_syntax())?, context),
        b"DATA" => bare(Command::Data, "DATA"),
        b"RSET" => bare(Command::Rset, "RSET"),
        b"QUIT" => bare(Command::Quit, "QUIT"),
        b"NOOP" => Ok(Command::Noop),
        b"VRFY" if rest.is_empty() => Err(say::vrfy_syntax()),
        b"VRFY" => Ok(Command::Vrfy),
        b"EXPN" => Ok(Command::Expn),
        b"HELP" => Ok(Command::Help(topic(rest))),
        b"STARTTLS" => bare(Command::StartTls, "STARTTLS"),
        b"AUTH" => Ok(Command::Auth),
        other => match one_of(&NOT_OFFERED, other) {
            Some(verb) => Ok(Command::NotOffered(verb)),
            None if one_of(&FOREIGN, other).is_some() || is_request(line) => Ok(Command::Foreign),
            None => Err(say::unknown_command()),
        },
    }
}

fn trim_end(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|octet| !matches!(octet, b' ' | b'\t'));
    &line[..end.map_or(0, |last| last + 1)]
}

fn one_of(verbs: &[&'static str], verb: &[u8]) -> Option<&'static str> {
    verbs.iter().copied().find(|known| known.as_bytes().eq_ignore_ascii_case(verb))
}

/// The first line of an HTTP request of whatever method, or what an SSH client says first.
fn is_request(line: &[u8]) -> bool {
    memchr::memmem::find(line, b" HTTP/").is_some() || line.starts_with(b"SSH-")
}

fn topic(argument: &[u8]) -> Topic {
    let known = |verb: &&say::Explained| verb.verb.as_bytes().eq_ignore_ascii_case(argument);
    match say::COMMANDS.iter().find(known) {
        _ if argument.is_empty() => Topic::All,
        Some(verb) => Topic::Command(verb),
        None => Topic::Unknown,
    }
}

/// The name is kept for logs, Received and SPF, and never a reason to refuse, whatever it says.
fn hello(argument: &[u8], extended: bool) -> Result<Command, Reply> {
    if argument.is_empty() || argument.len() > 255 || argument.iter().any(u8::is_ascii_control) {
        return Err(say::helo_argument());
    }
    let name = String::from_utf8_lossy(argument);
    let name = name.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect();
    Ok(Command::Hello { name, extended })
}

fn mail(rest: &str, context: Context<'_>) -> Result<Command, Reply> {
    let (path, rest) = after_keyword(rest, "FROM:").and_then(split_path).ok_or_else(say::mail_syntax)?;
    let mut sender = Sender::new(ReversePath::Null);
    parameters::mail(rest, context.door, &mut sender)?;
    if !path.is_ascii() && !sender.smtputf8 {
        return Err(say::utf8_sender_unasked());
    }
    if !path.is_empty() {
        let address = Address::parse(without_route(path).ok_or_else(say::mail_syntax)?);
        sender.path = ReversePath::Address(address.map_err(|error| say::bad_sender(&error.0))?);
    }
    Ok(Command::Mail(sender))
}

fn rcpt(rest: &str, context: Context<'_>) -> Result<Command, Reply> {
    let (path, rest) = after_keyword(rest, "TO:").and_then(split_path).ok_or_else(say::rcpt_syntax)?;
    if !path.is_ascii() && !context.smtputf8 {
        return Err(say::utf8_recipient_unasked());
    }
    let path = without_route(path).ok_or_else(say::rcpt_syntax)?;
    let address = match path.eq_ignore_ascii_case("postmaster") {
        true => Address::parse(&format!("{path}@{}", context.hostname)),
        false => Address::parse(path),
    };
    let mut recipient = Recipient::new(address.map_err(|error| say::bad_recipient(&error.0))?);
    parameters::rcpt(rest, context.door, &mut recipient)?;
    Ok(Command::Rcpt(recipient))
}

/// What stands behind `FROM:` or `TO:`. One space there is against the RFC, common, and harmless.
fn after_keyword<'a>(text: &'a str, keyword: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(keyword.len())?;
    head.eq_ignore_ascii_case(keyword).then(|| rest.strip_prefix(' ').unwrap_or(rest))
}

/// Splits `<path> parameters`; a `>` within a quoted string does not end the path.
fn split_path(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('<')?;
    let mut quoted = false;
    let mut escaped = false;
    let end = inner.bytes().position(|octet| {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' => return !quoted,
            _ => {}
        }
        false
    })?;
    let rest = &inner[end + 1..];
    (end <= PATH && (rest.is_empty() || rest.starts_with(' '))).then(|| (&inner[..end], rest))
}

/// Drops a source route, `@a,@b:` (RFC 5321 section 4.1.1.3 and appendix C: accepted and ignored).
fn without_route(path: &str) -> Option<&str> {
    if !path.starts_with('@') {
        return Some(path);
    }
    let mut literal = false;
    let colon = path.bytes().position(|octet| {
        literal = (literal || octet == b'[') && octet != b']';
        octet == b':' && !literal
    })?;
    let (route, mailbox) = path.split_at(colon);
    let hop = |hop: &str| hop.len() > 1 && hop.starts_with('@') && !hop.contains(['"', ' ', '<']);
    route.split(',').all(hop).then(|| &mailbox[1..])
}

#[cfg(test)]
mod tests;
