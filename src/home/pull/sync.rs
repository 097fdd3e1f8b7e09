//! Fsyncs in parallel: a letter's fsync mostly waits for the disk, and waits of several letters merge there.

use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread::Scope;

/// Threads that fsync.
const THREADS: usize = 8;
/// Open files that wait for them at most.
const WAITING: usize = 512;

/// Where files go to be made durable.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    jobs: mpsc::SyncSender<(File, Arc<Flushes>)>,
}

impl Pool {
    /// Threads that end when the last clone of the pool is dropped.
    pub fn start<'scope>(scope: &'scope Scope<'scope, '_>) -> Pool {
        let (jobs, queue) = mpsc::sync_channel(WAITING);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..THREADS {
            let queue = queue.clone();
            scope.spawn(move || work(&queue));
        }
        Pool { jobs }
    }

    /// Fsyncs and closes `file`; `flushes` learns of it.
    pub fn flush(&self, file: File, flushes: &Arc<Flushes>) -> io::Result<()> {
        flushes.begin();
        self.jobs.send((file, flushes.clone())).map_err(|_| io::Error::other("the fsync threads are gone"))
    }
}

fn work(queue: &Mutex<mpsc::Receiver<(File, Arc<Flushes>)>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((file, flushes)) = job else { return };
        flushes.end(file.sync_all());
    }
}

/// The fsyncs of one batch.
#[derive(Debug, Default)]
pub(super) struct Flushes {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pending: usize,
    failed: Option<io::Error>,
}

impl Flushes {
    fn begin(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).pending += 1;
    }

    fn end(&self, result: io::Result<()>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.pending -= 1;
        if let Err(error) = result {
            state.failed.get_or_insert(error);
        }
        // Whoever waits, waits for the last one.
        if state.pending == 0 {
            self.changed.notify_all();
        }
    }

    /// Waits until all of them are done.
    pub fn wait(&self) -> io::Result<()> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_while(state, |state| state.pending > 0);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.failed.take().map_or(Ok(()), Err)
    }
}
