//! What the helper is parent of: the programs that it runs, and, where it is the first process of a namespace, whatever
//! they leave behind. Nobody else would look after those when they end.

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use rustix::process::Pid;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The programs that run, whose ends others wait for.
#[derive(Debug, Default)]
pub struct Children(Mutex<BTreeSet<i32>>);

impl Children {
    /// Notes a program. To be called before anything is awaited after its start.
    pub fn of_ours(self: &Arc<Children>, pid: Pid) -> Ours {
        self.programs().insert(pid.as_raw_nonzero().get());
        Ours { pid, children: Arc::clone(self) }
    }

    /// Looks after those that have ended and are no programs. One that is and has ended stands in the way of those behind it,
    /// until it was waited for and [`Ours`] is dropped.
    pub fn bury(&self) {
        let programs = self.programs();
        let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
        while let Ok(Some(pid)) = waitid(Id::All, ended | WaitPidFlag::WNOWAIT).map(|status| status.pid())
            && !programs.contains(&pid.as_raw())
            && waitid(Id::Pid(pid), ended).is_ok()
        {}
    }

    fn programs(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A program, until it was waited for.
#[derive(Debug)]
pub struct Ours {
    pid: Pid,
    children: Arc<Children>,
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.children.programs().remove(&self.pid.as_raw_nonzero().get());
        self.children.bury();
    }
}
