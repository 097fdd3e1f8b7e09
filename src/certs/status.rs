//! What is kept on disk for the doors, as a tool sees it beside a running server: it reads, and changes nothing.

use super::acme::{self, Kept as Ordered};
use super::files::{self, Paths};
use super::{directory_in, own, words};
use crate::config;
use crate::error::Failure;
use crate::mail::address::Domain;
use crate::net::tls::pair::Facts;
use crate::policy::renewal::Life;
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
    /// An authority.
    Authority {
        /// The URL of its directory.
        directory: String,
        /// The name that it is ordered for.
        name: String,
    },
}

/// What is kept, in the order of the configuration: the first is shown to whoever asks for no name. An error is a contradiction in the
/// configuration. Blocks.
pub fn kept(config: &config::Server, hostname: &Domain) -> Result<Vec<Kept>, Failure> {
    if let Some(acme) = &config.tls.acme {
        let ordered = acme::kept(&config.state_dir, acme, hostname)?;
        return Ok(ordered.into_iter().map(|ordered| Kept::ordered(ordered, &acme.directory)).collect());
    }
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
    fn ordered(ordered: Ordered, directory: &str) -> Kept {
        let Ordered { name, facts, next, attempts, failure, .. } = ordered;
        let trouble = failure.map(|(at, why)| {
            let times = if attempts == 1 { "once".to_owned() } else { format!("{attempts} times in a row") };
            format!("{why} ({}; failed {times})", words::local(at))
        });
        let facts = facts.ok_or_else(|| format!("there is no certificate for {name} yet"));
        let directory = ordered.directory.unwrap_or_else(|| directory.to_owned());
        Kept { origin: Origin::Authority { directory, name }, facts, next: Some(next), trouble }
    }

    /// Whether our own is shown in its place while it cannot be used: for a name that is not ours an authority's others are.
    pub fn has_stand_in(&self, hostname: &str) -> bool {
        match &self.origin {
            Origin::Authority { name, .. } => name.eq_ignore_ascii_case(hostname),
            Origin::Own(_) | Origin::Files(_) => true,
        }
    }

    /// Whether it should have been renewed here long ago: it is valid still, and not for long.
    pub fn is_late(&self, now: i64) -> bool {
        let (Origin::Authority { .. }, Ok(facts)) = (&self.origin, &self.facts) else { return false };
        let life = Life { begin: facts.not_before, end: facts.not_after, lot: 0 };
        (life.is_late_at()..=life.end).contains(&now)
    }

    /// Whether it is for this name.
    pub fn is_for(&self, name: &str) -> bool {
        self.facts.as_ref().is_ok_and(|facts| facts.is_for(name))
    }
}
