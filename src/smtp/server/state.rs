//! Where a session stands.

use crate::mail::envelope::{Recipient, Sender};
use crate::smtp::data::{EndOfData, Reader};
use std::ops::Range;

#[derive(Debug)]
pub(super) enum State {
    Command,
    AskMail(Sender),
    AskRcpt(Recipient),
    AskTls,
    AskData,
    Body(Reader),
    AskEnd(EndOfData),
    Closed,
}

#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) smtputf8: bool,
    pub(super) accepted: usize,
    pub(super) refused: bool,
}

/// A step that borrows nothing yet.
pub(super) enum Next {
    Read,
    Ask,
    Body(Range<usize>),
    Reset,
    Close,
}
