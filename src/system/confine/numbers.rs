//! A process that is the first in a namespace of process numbers.

use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::io;

/// Starts a process by `start`, the first of a namespace of process numbers where that is allowed (to root, mostly): then what
/// it starts can neither end nor stop it, has no number for any process outside, and ends with it. Where it is not, it
/// is started all the same, and the log says so. To be called while this process has one thread; the caller stays in his own
/// namespace, with all that he starts later.
pub fn first_of_its_own<T>(start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let ours = File::open("/proc/self/ns/pid")?;
    if let Err(errno) = unshare(CloneFlags::CLONE_NEWPID) {
        tracing::warn!(
            %errno,
            "no namespace of process numbers for the filter: a program of its user could end its helper, and so the server; \
             allow it (systemd: no RestrictNamespaces=, CAP_SYS_ADMIN in the bounding set)"
        );
        return start();
    }
    let started = start();
    // Otherwise no thread could begin here, and no second process once the first has ended.
    setns(&ours, CloneFlags::CLONE_NEWPID)?;
    started
}
