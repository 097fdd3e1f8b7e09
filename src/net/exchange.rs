//! Drives the client's session over any stream.

use crate::smtp::client::{Outcome, Request};
use tokio::io::{AsyncRead, AsyncWrite};

/// Performs one transaction over `stream`. Once the greeting is read, `open` is given the name that the server calls
/// itself (home seals for exactly that server) and returns the message, which is read to its end: CRLF lines, not
/// dot-stuffed. Faults of the stream are fates, not errors.
pub async fn exchange<S, M>(
    stream: &mut S,
    request: Request,
    open: impl FnOnce(&str) -> std::io::Result<M>,
) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
    M: AsyncRead + Unpin,
{
    let _ = (stream, request, open);
    unimplemented!("written together with smtp::client")
}
