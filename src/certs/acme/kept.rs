//! What is there, for people who ask, while a server may be at work on it.

use super::attempt::Held;
use super::settings::Settings;
use super::state::{Files, State};
use super::{clock, due, own, pair_of, plan};
use crate::certs::directory_in;
use crate::config;
use crate::error::Failure;
use crate::mail::address::Domain;
use crate::net::tls::pair::Facts;
use std::path::{Path, PathBuf};

/// What is there for one name.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The name.
    pub name: String,
    /// Where its certificate is, or will be.
    pub file: PathBuf,
    /// The certificate, if there is one of our key.
    pub facts: Option<Facts>,
    /// The directory of the authority that it is from, as far as that is known.
    pub directory: Option<String>,
    /// When it is to be renewed, in Unix seconds.
    pub renewal: Option<i64>,
    /// When the next attempt is made: later than `renewal` after a failure.
    pub next: i64,
    /// Attempts in a row that brought nothing.
    pub attempts: u32,
    /// When the last of them ended, and how.
    pub failure: Option<(i64, String)>,
    /// When a certificate was last gained.
    pub success: Option<i64>,
    /// The URL of an order that is not done with.
    pub order: Option<String>,
}

/// What is there for each name of `acme`. Reads only, and blocks.
pub fn kept(state_dir: &Path, acme: &config::Acme, hostname: &Domain) -> Result<Vec<Kept>, Failure> {
    let settings = Settings::of(acme, hostname)?;
    let (directory, now) = (directory_in(state_dir), clock());
    let key = own::kept_key(&directory)?;
    let look = |name: &Domain| {
        let files = Files::of(&directory, name);
        let state = State::load(&files, now);
        let pair = key.as_deref().and_then(|key| pair_of(&files, key, name));
        let held = Held { name: name.clone(), files, state, pair };
        let next = plan(&settings.directory, &held, now).0.max(now);
        let renewal = held.life().map(|life| due(&held, &life, now));
        Kept {
            name: name.to_string(),
            file: held.files.chain,
            facts: held.pair.map(|pair| pair.facts),
            directory: held.state.directory,
            renewal,
            next,
            // One that runs is counted there from its beginning on, and has not failed.
            attempts: held.state.failures.saturating_sub(held.state.running.into()),
            failure: held.state.failure.map(|failure| (failure.at, failure.why)),
            success: held.state.success,
            order: held.state.order.map(|order| order.url),
        }
    };
    Ok(settings.names.iter().map(look).collect())
}
