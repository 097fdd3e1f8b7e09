//! How a program of pillarbox ends: one exit status of sysexits.h and one line on stderr.

use std::{fmt, io};

/// Exit statuses as `sysexits.h` numbers them; mailers such as mutt and git send-email read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 64: the command line is wrong.
    Usage = 64,
    /// 65: the letter itself is wrong (empty, malformed).
    DataErr = 65,
    /// 66: an input file is missing or unreadable.
    NoInput = 66,
    /// 67: a recipient does not exist.
    NoUser = 67,
    /// 68: a recipient's domain does not exist.
    NoHost = 68,
    /// 69: a service is not there (the server refused for good).
    Unavailable = 69,
    /// 70: a fault in pillarbox.
    Software = 70,
    /// 71: the operating system failed us.
    OsErr = 71,
    /// 73: an output file cannot be made.
    CantCreat = 73,
    /// 74: reading or writing failed.
    IoErr = 74,
    /// 75: try again later. Whatever was not expected ends here.
    TempFail = 75,
    /// 76: the other side broke the protocol.
    Protocol = 76,
    /// 77: not allowed.
    NoPerm = 77,
    /// 78: the configuration is wrong or a key is missing.
    Config = 78,
}

/// A program's failure: the status it exits with, and a sentence that says what happened and what to do.
#[derive(Debug)]
pub struct Failure {
    /// The exit status.
    pub exit: Exit,
    /// One line, without a trailing full stop or newline.
    pub message: String,
}

impl Failure {
    /// A failure with `exit` and a one-line `message`.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// A system's error in a sentence for people, without the number that the standard library puts behind it.
pub fn plainly(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(number) => text.trim_end_matches(&format!(" (os error {number})")).to_owned(),
        None => text,
    }
}

/// What was not expected is temporary: a mailer keeps the letter and tries again.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        match error.downcast::<Failure>() {
            Ok(failure) => failure,
            Err(error) => Failure::new(Exit::TempFail, format!("{error:#}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_need_no_numbers() {
        let refused = io::Error::from_raw_os_error(rustix::io::Errno::CONNREFUSED.raw_os_error());
        assert_eq!(plainly(&refused), "Connection refused");
        assert_eq!(plainly(&io::Error::other("why (os error 1)")), "why (os error 1)");
    }
}
