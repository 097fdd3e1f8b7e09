//! The word that the server stops, for those who are on their way.

use tokio::sync::watch;

/// Said once. Who has not begun a transaction turns back then; who is within one may end it.
#[derive(Debug, Default)]
pub struct Halt(watch::Sender<bool>);

impl Halt {
    pub(super) fn call(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is said.
    pub(super) async fn called(&self) {
        // The sender is ours, so that the wait has no other end.
        let _ = self.0.subscribe().wait_for(|called| *called).await;
    }
}
