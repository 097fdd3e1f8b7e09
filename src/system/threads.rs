//! Threads that may block, and what a panic on one of them means.

/// Runs a call of the store or the queue on a thread that may block. A panic there means that we no longer know what
/// is on disk: the process ends at once, and recovery at the next start finds out.
pub async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(call).await {
        Ok(value) => value,
        Err(error) if error.is_panic() => {
            tracing::error!(%error, "a panic in the store or the queue; ending at once");
            std::process::abort()
        }
        // The runtime is going down, and this task with it.
        Err(_) => std::future::pending().await,
    }
}

/// Runs what changes nothing (parsers of strangers' bytes that look names up) on a thread that may block. A panic goes
/// on in the caller: it ends that connection or attempt, and must not be able to end the server.
pub async fn reading<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(call).await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(value) => value,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => std::future::pending().await,
    }
}

/// Work that goes on while others wait for something else. Dropping it gives it up.
pub struct Background<T>(tokio::task::JoinHandle<T>);

impl<T: Send + 'static> Background<T> {
    /// Begins it.
    pub fn begin(work: impl Future<Output = T> + Send + 'static) -> Background<T> {
        Background(tokio::spawn(work))
    }

    /// Waits for its outcome. A panic goes on in the caller, as with [`reading`].
    pub async fn outcome(mut self) -> T {
        match (&mut self.0).await.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(value) => value,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            Err(Err(_)) => std::future::pending().await,
        }
    }
}

impl<T> Drop for Background<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
