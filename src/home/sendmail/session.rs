//! `-bs`: SMTP on standard input and output, as nmh and some mailers speak it to a local program.
//!
//! The protocol is the crate's own session at the submission door. A letter is read to its end, then goes the same way as
//! one that came by flags; the reply to its final dot is what came of that.

use super::arguments::Arguments;
use super::{Streams, send};
use crate::config;
use crate::error::{Exit, Failure};
use crate::mail::envelope::{Recipient, Sender};
use crate::smtp::Door;
use crate::smtp::reply::Reply;
use crate::smtp::server::{Session, Settings, Step, Tls};
use std::time::Duration;

/// The largest letter, in octets; the server has a limit of its own.
const LARGEST: u64 = 256 << 20;

/// What was said of a letter so far.
#[derive(Default)]
struct Draft {
    arguments: Arguments,
    letter: Vec<u8>,
}

/// Speaks until the client goes.
pub fn run(config: &config::Home, streams: Streams) -> Result<(), Failure> {
    let Streams { input, output, errors } = streams;
    let broken = |error: std::io::Error| Failure::new(Exit::IoErr, format!("the SMTP client: {error}"));
    let mut session = Session::new(settings());
    let mut draft = Draft::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let answer = match session.step() {
            Step::Read => {
                let replies = session.take_output();
                output.write_all(&replies).and_then(|()| output.flush()).map_err(broken)?;
                let count = input.read(&mut buffer).map_err(broken)?;
                if count == 0 {
                    return Ok(());
                }
                session.feed(&buffer[..count]);
                continue;
            }
            Step::Body(slice) => {
                draft.letter.extend_from_slice(slice);
                continue;
            }
            Step::Reset => {
                draft = Draft::default();
                continue;
            }
            Step::Mail(sender) => {
                draft = Draft::default();
                draft.mail(sender);
                Reply::new(250, 1, 0, "go on")
            }
            Step::Rcpt(recipient) => {
                draft.rcpt(recipient);
                Reply::new(250, 1, 5, "go on")
            }
            Step::Data => Reply::plain(354, "end the letter with a line that has only a dot"),
            Step::EndOfData(_) => {
                let Draft { arguments, letter } = std::mem::take(&mut draft);
                reply_for(send(&letter, &arguments, config, errors))
            }
            // There is no TLS on a pipe.
            Step::StartTls | Step::Close => {
                let replies = session.take_output();
                return output.write_all(&replies).and_then(|()| output.flush()).map_err(broken);
            }
        };
        session.answer(answer);
    }
}

impl Draft {
    fn mail(&mut self, sender: &Sender) {
        self.arguments.sender = Some(sender.path.to_string());
        self.arguments.ret = sender.ret;
        self.arguments.envid = sender.envid.clone();
    }

    fn rcpt(&mut self, recipient: &Recipient) {
        // One letter has one setting: whatever report somebody is to be the reason of.
        if let Some(more) = recipient.notify {
            let known = self.arguments.notify.get_or_insert_default();
            known.success |= more.success;
            known.failure |= more.failure;
            known.delay |= more.delay;
        }
        self.arguments.recipients.push(recipient.address.to_string());
    }
}

fn settings() -> Settings {
    Settings {
        hostname: "localhost".to_owned(),
        door: Door::Submission,
        message_size: LARGEST,
        recipients: 1000,
        command_timeout: Duration::from_secs(300),
        tls: Tls::Unavailable,
    }
}

/// The failure as the client has to hear it: gone for good, or to be tried again.
fn reply_for(sent: Result<(), Failure>) -> Reply {
    match sent {
        Ok(()) => Reply::new(250, 0, 0, "the letter is on its way, or waits in the outbox"),
        Err(failure) => match failure.exit {
            Exit::NoUser => Reply::new(550, 1, 1, failure.message),
            Exit::NoHost => Reply::new(550, 1, 2, failure.message),
            Exit::NoPerm => Reply::new(550, 7, 1, failure.message),
            Exit::Usage | Exit::DataErr => Reply::new(554, 6, 0, failure.message),
            Exit::Unavailable => Reply::new(554, 0, 0, failure.message),
            Exit::Config => Reply::new(451, 3, 5, failure.message),
            _ => Reply::new(451, 3, 0, failure.message),
        },
    }
}
