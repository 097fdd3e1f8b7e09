//! How many files may be open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of open files as far as it goes: the usual 1024 is there for programs that use select(2).
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised, the usual limit stays.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
