//! The replies that the server's session gives by itself. Each says what to do.

use super::Reply;
use crate::smtp::Door;

pub(in crate::smtp) fn greeting(hostname: &str) -> Reply {
    Reply::plain(220, format!("{hostname} ESMTP pillarbox"))
}

pub(in crate::smtp) fn ehlo(hostname: &str, door: Door, message_size: u64) -> Reply {
    let mut text =
        format!("{hostname}\nPIPELINING\nSIZE {message_size}\n8BITMIME\nSMTPUTF8\nENHANCEDSTATUSCODES");
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

pub(in crate::smtp) fn help() -> Reply {
    Reply::new(214, 0, 0, "EHLO HELO MAIL RCPT DATA RSET NOOP QUIT VRFY HELP, as RFC 5321 has them")
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
    Reply::new(501, 5, 4, "Say your name: EHLO host.example")
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

pub(in crate::smtp) fn utf8_unasked() -> Reply {
    Reply::new(553, 6, 7, "An address that is not ASCII needs the SMTPUTF8 parameter of MAIL")
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
