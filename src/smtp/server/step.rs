//! What the session asks of its driver.

use crate::mail::envelope::{Recipient, Sender};
use crate::smtp::data::EndOfData;

/// What the driver has to do next.
#[derive(Debug)]
pub enum Step<'a> {
    /// Send what is in `output`, then read more and `feed` it.
    Read,
    /// `MAIL` came: answer it. A positive answer opens the transaction.
    Mail(&'a Sender),
    /// `RCPT` came: answer it. A positive answer adds the recipient.
    Rcpt(&'a Recipient),
    /// `STARTTLS` came: send what is in `output`, perform the handshake on the very next octets of the connection, then call
    /// `secured`. Where the handshake fails there is nothing left to say: close.
    StartTls,
    /// `DATA` came and there is a recipient: answer 354 or a refusal.
    Data,
    /// A slice of the message, dot-stuffing undone, CRLF kept. Nothing to answer.
    Body(&'a [u8]),
    /// The final dot came: answer it. It is the last action of the transaction, whatever the answer. A message that
    /// was too large or had a lone CR, LF or NUL is refused by the session itself and ends in `Reset` instead.
    EndOfData(EndOfData),
    /// The transaction is void (RSET, EHLO, TLS, refused data): drop what was gathered. Nothing to answer.
    Reset,
    /// Send what is in `output` and close.
    Close,
}
