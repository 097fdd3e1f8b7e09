//! What is kept on disk for the doors, as a tool sees it beside a running server: it reads, and changes nothing.

use super::files::{self, Paths};
use super::{directory_in, own};
use crate::config;
use crate::error::Failure;
use crate::net::tls::pair::Facts;
use std::path::PathBuf;

/// A certificate that is kept for the doors, or ought to be.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Where it is from.
    pub origin: Origin,
    /// What it says, or why it cannot be used: a sentence with file, cause and remedy.
    pub facts: Result<Facts, String>,
    /// When it is renewed next, in Unix seconds, where that is done here.
    pub next: Option<i64>,
    /// Why the last attempt to renew it failed, if it did.
    pub trouble: Option<String>,
}

/// Where a certificate is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Made here; nobody vouches for it.
    Own(PathBuf),
    /// Files that somebody else renews.
    Files(Paths),
    /// An authority, by the URL of its directory.
    Authority(String),
}

/// What is kept, in the order of the configuration: the first is shown to whoever asks for no name. An error is a contradiction in the
/// configuration. Blocks.
pub fn kept(config: &config::Server) -> Result<Vec<Kept>, Failure> {
    let paths = files::configured(&config.tls)?;
    if paths.is_empty() {
        return Ok(vec![own(config)]);
    }
    let kept = |paths: Paths| {
        let facts = paths.read().map(|pair| pair.facts);
        Kept { origin: Origin::Files(paths), facts, next: None, trouble: None }
    };
    Ok(paths.into_iter().map(kept).collect())
}

/// Our own certificate, which is also shown in the place of one that cannot be used. Blocks.
pub fn own(config: &config::Server) -> Kept {
    let directory = directory_in(&config.state_dir);
    let facts = own::look(&directory).map(|pair| pair.facts);
    Kept { origin: Origin::Own(own::path_in(&directory)), facts, next: None, trouble: None }
}

impl Kept {
    /// Whether it is for this name.
    pub fn is_for(&self, name: &str) -> bool {
        self.facts.as_ref().is_ok_and(|facts| facts.is_for(name))
    }
}
