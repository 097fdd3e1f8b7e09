//! DKIM: keys, signing, sealing, verifying; SPF; what DMARC asks DNS. The one wrapper around the mail-auth crate.
//!
//! At home: [`keys`], [`sign`], [`seal`]. On the server: [`submission`] and [`inbound`] gather the evidence that
//! `policy` decides on; both stand on [`inspect`], and keys come from DNS or from [`pinned`] copies. Whether a client may use a name is asked in [`spf`], what is known of the
//! client itself in [`peer`], what an author's domain says of letters in its name in [`dmarc`].

pub mod canon;
pub mod dmarc;
#[cfg(test)]
mod forge;
pub mod inbound;
pub mod inspect;
pub mod keys;
pub mod peer;
pub mod pinned;
pub mod record;
pub mod seal;
pub mod sign;
pub mod signature;
pub mod spf;
pub mod submission;
pub mod tags;

use std::future::poll_fn;
use std::task::Poll;

/// Waits for all of a few futures at once; what they give, in their order.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    poll_fn(|context| {
        for (future, output) in running.iter_mut().filter(|(_, output)| output.is_none()) {
            if let Poll::Ready(value) = future.as_mut().poll(context) {
                *output = Some(value);
            }
        }
        match running.iter().all(|(_, output)| output.is_some()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}
