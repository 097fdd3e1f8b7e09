//! Where a panic ends: in a connection, at that connection; in the store or the queue, the process.

pub use crate::system::threads::{blocking, reading};

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

/// Runs a connection; a panic in it becomes an `Err` with its words. Parsers of strangers' bytes must not be able to
/// end the server.
pub async fn shielded<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => std::task::Poll::Ready(Err(words(panic.as_ref()))),
    })
    .await
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic").to_owned()
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn a_panic_in_a_connection_is_an_error_with_its_words() {
        let outcome =
            super::shielded(async { std::hint::black_box(None::<u8>).expect("a parser's fault") }).await;
        assert_eq!(outcome.unwrap_err(), "a parser's fault");
    }

    #[tokio::test]
    async fn a_panic_while_reading_on_another_thread_is_the_connections_as_well() {
        let read = super::reading(|| std::hint::black_box(None::<u8>).expect("a parser's fault"));
        assert_eq!(super::shielded(read).await.unwrap_err(), "a parser's fault");
    }
}
