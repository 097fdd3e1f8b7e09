//! relay

/// Stopgap until the relay is merged.
pub struct Parts;

/// Stopgap until the relay is merged.
pub async fn run(_parts: Parts, mut stop: tokio::sync::watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Stopgap until the relay is merged.
pub mod local {
    /// Stopgap until the relay is merged.
    pub struct Settings<'a> {
        /// Stopgap.
        pub hostname: &'a str,
    }
    /// Stopgap until the relay is merged.
    pub fn deliver(
        _queue: &crate::queue::Queue,
        _store: &crate::store::tree::Store,
        _entry: &crate::queue::EntryId,
        _settings: &Settings<'_>,
    ) -> Result<(), crate::store::StoreError> {
        Ok(())
    }
}
