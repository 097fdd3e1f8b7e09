//! The replies that the server's session gives by itself. Each says what to do.

use super::Reply;
use crate::smtp::Door;
use crate::smtp::command::Topic;
use crate::smtp::server::Tls;

pub(in crate::smtp) fn greeting(hostname: &str) -> Reply {
    Reply::plain(220, format!("{hostname} ESMTP pillarbox"))
}

pub(in crate::smtp) fn ehlo(hostname: &str, door: Door, message_size: u64, tls: Tls) -> Reply {
    // HELP stands here since RFC 5321 section 4.1.1.1 wants every command that section 4.5.1 does not require.
    let mut text =
        format!("{hostname}\nPIPELINING\nSIZE {message_size}\n8BITMIME\nSMTPUTF8\nHELP\nENHANCEDSTATUSCODES");
    if tls == Tls::Offered {
        text.push_str("\nSTARTTLS");
    }
    if door == Door::Submission {
        text.push_str("\nDSN");
    }
    Reply::plain(250, text)
}

pub(in crate::smtp) fn helo(hostname: &str) -> Reply {
    Reply::plain(250, hostname)
}

pub(in crate::smtp) fn ok() -> Reply {
    Reply::new(250, 0, 0, "OK")
}

pub(in crate::smtp) fn bye() -> Reply {
    Reply::new(221, 0, 0, "Goodbye")
}

pub(in crate::smtp) fn vrfy() -> Reply {
    Reply::new(252, 1, 5, "Addresses are not verified here; send the letter and RCPT will tell")
}

pub(in crate::smtp) fn vrfy_syntax() -> Reply {
    Reply::new(501, 5, 4, "Want VRFY address")
}

/// A command, for HELP.
#[derive(Debug, PartialEq, Eq)]
pub struct Explained {
    /// In capitals.
    pub verb: &'static str,
    /// How it is written.
    form: &'static str,
    /// What it does.
    does: &'static str,
}

const fn explained(verb: &'static str, form: &'static str, does: &'static str) -> Explained {
    Explained { verb, form, does }
}

/// Every command that this server takes; STARTTLS where it is offered.
pub static COMMANDS: [Explained; 11] = [
    explained("EHLO", "EHLO host.example", "says who you are and lists the extensions"),
    explained("HELO", "HELO host.example", "the same, without extensions"),
    explained("MAIL", "MAIL FROM:<address> [SIZE=octets] [BODY=8BITMIME] [SMTPUTF8]", "begins a letter"),
    explained("RCPT", "RCPT TO:<address>", "names a recipient; once for each"),
    explained("DATA", "DATA", "the letter itself follows, after 354; a line with a single dot ends it"),
    explained("RSET", "RSET", "forgets the letter that was begun"),
    explained("NOOP", "NOOP", "does nothing"),
    explained("VRFY", "VRFY address", "is never answered with yes or no; RCPT tells"),
    explained("HELP", "HELP [command]", "this text"),
    explained(STARTTLS, STARTTLS, "goes on under TLS, from EHLO again"),
    explained("QUIT", "QUIT", "ends the connection"),
];

const STARTTLS: &str = "STARTTLS";

impl Explained {
    fn is_offered(&self, tls: Tls) -> bool {
        self.verb != STARTTLS || tls == Tls::Offered
    }

    fn line(&self) -> String {
        format!("{}: {}", self.form, self.does)
    }
}

pub(in crate::smtp) fn help(topic: &Topic, tls: Tls) -> Reply {
    let text = match topic {
        Topic::Command(explained) if explained.is_offered(tls) => explained.line(),
        Topic::All => {
            let offered = COMMANDS.iter().filter(|command| command.is_offered(tls));
            let lines: Vec<String> = offered.map(Explained::line).collect();
            format!(
                "{}\nWhat this server does of RFC 5321 and its extensions: docs/standards.md of pillarbox",
                lines.join("\n")
            )
        }
        Topic::Command(_) | Topic::Unknown => {
            return Reply::new(504, 5, 4, "There is no help on that; HELP alone lists the commands");
        }
    };
    Reply::new(214, 0, 0, text)
}

pub(in crate::smtp) fn go_ahead() -> Reply {
    Reply::new(220, 0, 0, "Begin TLS now")
}

pub(in crate::smtp) fn private_already() -> Reply {
    Reply::new(503, 5, 1, "This connection is under TLS already")
}

pub(in crate::smtp) fn expn() -> Reply {
    Reply::new(502, 5, 1, "EXPN is not offered: there are no lists here")
}

pub(in crate::smtp) fn auth(door: Door) -> Reply {
    Reply::new(
        502,
        5,
        1,
        match door {
            Door::Mx => "AUTH is not offered: this door takes letters for its own addresses only",
            Door::Submission => "AUTH is not offered: the letter's DKIM signature is the credential",
        },
    )
}

pub(in crate::smtp) fn not_offered(verb: &str) -> Reply {
    Reply::new(502, 5, 1, format!("{verb} is not offered; EHLO lists what is"))
}

pub(in crate::smtp) fn unknown_command() -> Reply {
    Reply::new(500, 5, 2, "Unknown command; HELP lists the known ones")
}

pub(in crate::smtp) fn line_too_long(limit: usize) -> Reply {
    Reply::new(500, 5, 2, format!("Line too long: a command has at most {limit} octets"))
}

pub(in crate::smtp) fn bare_line_end() -> Reply {
    Reply::new(
        500,
        5,
        2,
        "A command ends in CRLF and has no other CR, LF or NUL (RFC 5321 section 2.3.8); closing",
    )
}

pub(in crate::smtp) fn helo_argument() -> Reply {
    // RFC 2034 section 4: no reply to EHLO or HELO has an enhanced code.
    Reply::plain(501, "Say your name: EHLO host.example")
}

pub(in crate::smtp) fn foreign() -> Reply {
    Reply::new(421, 7, 0, "This is a mail server and speaks SMTP only; closing")
}

/// What follows a refusal that is also the end: RFC 5321 section 3.8 has no close without a 421.
pub(in crate::smtp) fn closing() -> Reply {
    Reply::new(421, 7, 0, "Closing, as was said")
}

pub(in crate::smtp) fn no_argument(verb: &str) -> Reply {
    Reply::new(501, 5, 4, format!("{verb} takes no argument"))
}

pub(in crate::smtp) fn mail_syntax() -> Reply {
    Reply::new(501, 5, 2, "Want MAIL FROM:<address> or MAIL FROM:<>, then parameters")
}

pub(in crate::smtp) fn rcpt_syntax() -> Reply {
    Reply::new(501, 5, 2, "Want RCPT TO:<address>, then parameters")
}

pub(in crate::smtp) fn bad_sender(why: &str) -> Reply {
    Reply::new(501, 1, 7, format!("The sender is no address: {why}"))
}

pub(in crate::smtp) fn bad_recipient(why: &str) -> Reply {
    Reply::new(501, 1, 3, format!("The recipient is no address: {why}"))
}

const UTF8_UNASKED: &str = "An address that is not ASCII needs the SMTPUTF8 parameter of MAIL";

/// RFC 6531 section 3.5 has 550 for a sender and 553 for a recipient.
pub(in crate::smtp) fn utf8_sender_unasked() -> Reply {
    Reply::new(550, 6, 7, UTF8_UNASKED)
}

pub(in crate::smtp) fn utf8_recipient_unasked() -> Reply {
    Reply::new(553, 6, 7, UTF8_UNASKED)
}

pub(in crate::smtp) fn bad_parameter(name: &str, want: &str) -> Reply {
    Reply::new(501, 5, 4, format!("Bad parameter {name}: want {want}"))
}

pub(in crate::smtp) fn parameter_twice(name: &str) -> Reply {
    Reply::new(501, 5, 4, format!("The parameter {name} stands there twice"))
}

pub(in crate::smtp) fn unknown_parameter(name: &str) -> Reply {
    Reply::new(555, 5, 4, format!("The parameter {name} is not offered here; EHLO lists what is"))
}

pub(in crate::smtp) fn ehlo_first() -> Reply {
    Reply::new(503, 5, 1, "Say EHLO first")
}

pub(in crate::smtp) fn mail_first() -> Reply {
    Reply::new(503, 5, 1, "Say MAIL FROM first")
}

pub(in crate::smtp) fn mail_was_refused() -> Reply {
    Reply::new(503, 5, 1, "The sender was refused, so there is no letter; say MAIL FROM again")
}

pub(in crate::smtp) fn mail_again() -> Reply {
    Reply::new(503, 5, 1, "A letter is already begun; finish it or say RSET")
}

pub(in crate::smtp) fn rcpt_first() -> Reply {
    Reply::new(503, 5, 1, "Say RCPT TO first")
}

pub(in crate::smtp) fn all_rcpt_refused() -> Reply {
    Reply::new(554, 5, 1, "No recipient was accepted, so there is nobody to write to")
}

pub(in crate::smtp) fn too_many_recipients(limit: usize) -> Reply {
    Reply::new(
        452,
        5,
        3,
        format!("At most {limit} recipients at once; send the rest in a further transaction"),
    )
}

pub(in crate::smtp) fn too_large(limit: u64) -> Reply {
    Reply::new(552, 3, 4, format!("The letter is too large: at most {limit} octets are taken"))
}

pub(in crate::smtp) fn early_data() -> Reply {
    Reply::new(
        554,
        5,
        0,
        "The letter came before the reply to DATA; wait for 354 (RFC 2920 section 3.1); closing",
    )
}

pub(in crate::smtp) fn bad_octets(what: &str) -> Reply {
    Reply::new(
        550,
        6,
        0,
        format!(
            "The letter has {what}. Every line must end in CRLF, with no other CR, LF or NUL anywhere \
             (RFC 5321 section 2.3.8); correct the program that wrote it; closing"
        ),
    )
}

pub(in crate::smtp) fn too_many_errors(last: &Reply) -> Reply {
    Reply::new(421, 7, 0, format!("Too many errors, closing; the last was: {last}"))
}

pub(in crate::smtp) fn too_many_commands() -> Reply {
    Reply::new(421, 7, 0, "Too many commands without a letter, closing; come back with one")
}
