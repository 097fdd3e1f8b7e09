//! Drives the client's session over any stream.

use crate::smtp::client::{Outcome, Request};
use tokio::io::{AsyncRead, AsyncWrite};

/// Performs one transaction over `stream`; `message` is read to its end, CRLF lines, not dot-stuffed. Faults of the
/// stream are fates, not errors.
pub async fn exchange<S, M>(stream: &mut S, request: Request, message: &mut M) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
    M: AsyncRead + Unpin + ?Sized,
{
    let _ = (stream, request, message);
    unimplemented!("written together with smtp::client")
}
