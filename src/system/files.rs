//! How many files may be open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of open files as far as it goes: the usual 1024 is there for programs that use select(2).
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised, the usual limit stays.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Files that are not strangers' connections: the owner's, the queue, the relay's, the log.
const OURS: u64 = 256;
/// Files that a connection may need: its socket, its spill, a directory's handles, and four questions to DNS, for each of
/// which the resolver holds up to four sockets while no answer comes.
const EACH: u64 = 20;

/// How many of the connections that are wished the limit of open files allows; strangers must not be able to take the
/// last file from the owner.
pub fn connections(wished: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let possible = usize::try_from(limit.saturating_sub(OURS) / EACH).unwrap_or(usize::MAX).max(1);
    if possible < wished {
        let remedy = "raise it (LimitNOFILE in the service's unit) or lower limits.connections";
        tracing::warn!(limit, wished, possible, remedy, "too few files may be open for limits.connections");
    }
    wished.min(possible)
}
