//! sendmail's command line: its odd syntax, as the programs of thirty years pass it.
//!
//! The syntax is getopt's: one-letter flags, which may be joined (`-ti`), values attached or separate (`-fme@x`,
//! `-f me@x`), `--` before the recipients; flags behind a recipient are still flags. What other sendmails know and
//! what means nothing here (`-o…`, `-B`, `-h`, `-G` and their like) is taken and ignored. What would make us read or
//! write a file of the caller's choice (`-C`, `-X`, `-D`) is refused: web applications let strangers reach this command line.

use crate::error::{Exit, Failure};
use crate::mail::envelope::{Notify, Ret};
use std::ffi::OsString;

/// What the program is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Read a letter from the standard input and submit it (`-bm`).
    #[default]
    Letter,
    /// Speak SMTP on standard input and output (`-bs`).
    Session,
    /// Print what waits in the outbox (`-bp`, mailq).
    List,
    /// Submit what waits in the outbox (`-q`).
    Flush,
    /// Nothing: there is no alias database to build (`-bi`, newaliases).
    Nothing,
}

/// A command line, understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// What to do.
    pub mode: Mode,
    /// `-f` or `-r`: the envelope sender, as it was given, without angle brackets.
    pub sender: Option<String>,
    /// `-F`: the display name of a From that we write.
    pub display: Option<String>,
    /// `-t`: recipients are (also) in the header.
    pub recipients_in_header: bool,
    /// `-i`, `-oi`: a line with only a dot is text.
    pub dot_is_text: bool,
    /// `-N`.
    pub notify: Option<Notify>,
    /// `-R`.
    pub ret: Option<Ret>,
    /// `-V`, decoded from xtext.
    pub envid: Option<String>,
    /// `-v`: tell on stderr what happens.
    pub verbose: bool,
    /// The recipients, as they were given; one argument may be a list.
    pub recipients: Vec<String>,
}

/// Flags of other sendmails without a value that change nothing here.
const IGNORED: &str = "cGUmnxJ";
/// Flags whose value, attached or in the next argument, changes nothing here.
const IGNORED_WITH_VALUE: &str = "BLOhpe";

/// Understands a command line (without the program's name).
pub fn parse(arguments: &[OsString]) -> Result<Arguments, Failure> {
    let mut parsed = Arguments::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let argument = text(argument)?;
        if argument == "--" {
            for recipient in rest.by_ref() {
                parsed.recipients.push(text(recipient)?.to_owned());
            }
        } else if let Some(long) = argument.strip_prefix("--") {
            parsed.long(long, &mut rest)?;
        } else if argument.len() > 1 && argument.starts_with('-') {
            parsed.short(&argument[1..], &mut rest)?;
        } else {
            parsed.recipients.push(argument.to_owned());
        }
    }
    Ok(parsed)
}

type Rest<'a> = std::slice::Iter<'a, OsString>;

impl Arguments {
    /// msmtp's long names, which wrappers and git's `sendmail.*` settings use.
    fn long(&mut self, flag: &str, rest: &mut Rest) -> Result<(), Failure> {
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag, None),
        };
        match (name, value) {
            // The sender is the header's From whenever there is no -f.
            ("read-envelope-from", None | Some("on" | "off")) => {}
            ("read-recipients", None) => self.recipients_in_header = true,
            ("from", Some(sender)) => self.sender = Some(bare(sender)),
            ("from", None) => self.sender = Some(bare(value_of("-from", "", rest)?)),
            _ => return Err(unknown(&format!("--{name}"))),
        }
        Ok(())
    }

    /// One argument of short flags, without its dash.
    fn short<'a>(&mut self, flags: &'a str, rest: &mut Rest<'a>) -> Result<(), Failure> {
        let mut left = flags;
        while let Some(flag) = left.chars().next() {
            left = &left[flag.len_utf8()..];
            match flag {
                't' => self.recipients_in_header = true,
                'i' => self.dot_is_text = true,
                'v' => self.verbose = true,
                'I' => self.mode = Mode::Nothing,
                _ if IGNORED.contains(flag) => {}
                _ => return self.with_value(flag, left, rest),
            }
        }
        Ok(())
    }

    /// A flag that takes the rest of its argument, or the next one.
    fn with_value<'a>(&mut self, flag: char, attached: &'a str, rest: &mut Rest<'a>) -> Result<(), Failure> {
        let name = flag.to_string();
        match flag {
            'f' | 'r' => self.sender = Some(bare(value_of(&name, attached, rest)?)),
            'F' => self.display = Some(value_of(&name, attached, rest)?.to_owned()),
            'o' => match value_of(&name, attached, rest)? {
                "i" => self.dot_is_text = true,
                // exim's -oMr PROTOCOL and its kin have their value in the next argument.
                option if option.len() == 2 && option.starts_with('M') => _ = value_of("oM", "", rest)?,
                _ => {}
            },
            'b' => self.mode = mode(value_of(&name, attached, rest)?)?,
            'N' => self.notify = Some(notify(value_of(&name, attached, rest)?)?),
            'R' => self.ret = Some(ret(value_of(&name, attached, rest)?)?),
            'V' => self.envid = Some(envid(value_of(&name, attached, rest)?)?),
            // -q and -q30m never take the next argument; neither do -Ac, -Am and -d0.1.
            'q' => self.mode = Mode::Flush,
            'A' | 'd' => {}
            'C' | 'D' | 'X' => {
                let why = "names a file to read or write; pillarbox is configured by home.toml only";
                return Err(Failure::new(Exit::Usage, format!("-{flag} {why}")));
            }
            _ if IGNORED_WITH_VALUE.contains(flag) => {
                value_of(&name, attached, rest)?;
            }
            _ => return Err(unknown(&format!("-{flag}"))),
        }
        Ok(())
    }
}

fn value_of<'a>(flag: &str, attached: &'a str, rest: &mut Rest<'a>) -> Result<&'a str, Failure> {
    if !attached.is_empty() {
        return Ok(attached);
    }
    let missing = || Failure::new(Exit::Usage, format!("-{flag} needs a value"));
    text(rest.next().ok_or_else(missing)?)
}

fn text(argument: &OsString) -> Result<&str, Failure> {
    let wrong = || Failure::new(Exit::Usage, format!("an argument is not UTF-8: {argument:?}"));
    argument.to_str().ok_or_else(wrong)
}

fn unknown(flag: &str) -> Failure {
    Failure::new(Exit::Usage, format!("unknown flag {flag}; a recipient that begins with - goes behind --"))
}

fn bare(sender: &str) -> String {
    let sender = sender.trim();
    sender.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(sender).to_owned()
}

fn mode(value: &str) -> Result<Mode, Failure> {
    Ok(match value {
        "m" => Mode::Letter,
        "s" => Mode::Session,
        "p" => Mode::List,
        "i" => Mode::Nothing,
        _ => {
            let text = format!("-b{value} is not for this program; -bm, -bs, -bp and -bi are");
            return Err(Failure::new(Exit::Usage, text));
        }
    })
}

fn notify(value: &str) -> Result<Notify, Failure> {
    let mut notify = Notify::default();
    if value.eq_ignore_ascii_case("never") {
        return Ok(notify);
    }
    for word in value.split(',') {
        match word.trim().to_ascii_lowercase().as_str() {
            "success" => notify.success = true,
            "failure" => notify.failure = true,
            "delay" => notify.delay = true,
            _ => {
                let text = format!("-N {value}: want never, or some of success, failure and delay");
                return Err(Failure::new(Exit::Usage, text));
            }
        }
    }
    Ok(notify)
}

fn ret(value: &str) -> Result<Ret, Failure> {
    match value.to_ascii_lowercase().as_str() {
        "full" => Ok(Ret::Full),
        "hdrs" => Ok(Ret::Headers),
        _ => Err(Failure::new(Exit::Usage, format!("-R {value}: want full or hdrs"))),
    }
}

/// Undoes xtext (RFC 3461 section 4); an envelope id is at most 100 characters long.
fn envid(value: &str) -> Result<String, Failure> {
    let wrong = || Failure::new(Exit::Usage, format!("-V {value}: want printable ASCII in xtext form"));
    let mut decoded = String::new();
    let mut rest = value;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let c = if c == '+' {
            let code = rest.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()).ok_or_else(wrong)?;
            rest = &rest[2..];
            char::from(code)
        } else {
            c
        };
        if !matches!(c, ' '..='~') {
            return Err(wrong());
        }
        decoded.push(c);
    }
    if value.len() > 100 { Err(wrong()) } else { Ok(decoded) }
}

#[cfg(test)]
mod tests;
