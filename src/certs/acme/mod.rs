//! Certificates from an authority (ACME, RFC 8555): one for each name, all of our one key, gained and renewed by
//! themselves.
//!
//! One name that fails costs no other its certificate. Whatever goes wrong, what is there stays and is shown.

mod account;
mod attempt;
mod client;
mod http01;
mod kept;
mod order;
mod settings;
mod state;
mod window;

pub use kept::{Kept, kept};

use super::orders::{Order, Orders, Outcome};
use super::{durable, own};
use crate::config;
use crate::error::{Exit, Failure};
use crate::mail::address::Domain;
use crate::net::tls::pair::Pair;
use crate::net::tls::server::TlsServer;
use crate::policy::renewal::{self, Life};
use account::Accounts;
use attempt::{Held, Shop, Why};
use client::Trouble;
use settings::Settings;
use state::{Files, State};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often the clock is looked at: it may be set, and the host may sleep.
const LOOK: i64 = 60;
/// How often one is told of a certificate that is about to end.
const TELL: i64 = 86400;

/// Gains and renews.
pub struct Acme {
    shop: Arc<Shop>,
    held: Vec<Held>,
    /// What is shown where there is nothing better, and the name that it is for.
    own: (Domain, Pair),
    /// When each name's owner was last told that it is late, in the order of `held`.
    told: Vec<i64>,
}

impl Acme {
    /// Reads what is kept in `directory` (`state_dir/tls`), for a server that is called `hostname`. Blocks.
    pub fn open(
        config: &config::Server,
        acme: &config::Acme,
        hostname: &Domain,
        (directory, key, own): (&Path, String, Pair),
    ) -> Result<Acme, Failure> {
        let settings = Settings::of(acme, hostname)?;
        let https = settings::https(config, acme)?;
        let accounts = Accounts::of(directory, &settings.directory, settings.contact.clone());
        let place = state::directory_in(directory);
        durable::make_directory(&place)
            .and_then(|()| accounts.prepare())
            .map_err(|error| Failure::new(Exit::CantCreat, format!("{}: {error}", place.display())))?;
        let hold = |name: &Domain| {
            let files = Files::of(directory, name);
            let state = State::load(&files, clock());
            Held { name: name.clone(), pair: pair_of(&files, &key, name), state, files }
        };
        let held: Vec<Held> = settings.names.iter().map(hold).collect();
        let told = vec![i64::MIN; held.len()];
        let shop = Arc::new(Shop { settings, https, accounts, key });
        Ok(Acme { shop, held, own: (hostname.clone(), own), told })
    }

    /// What can be shown now; never nothing.
    pub fn shown(&self) -> Vec<Pair> {
        let (hostname, own) = &self.own;
        let shown = |held: &Held| held.pair.clone().or_else(|| (held.name == *hostname).then(|| own.clone()));
        let pairs: Vec<Pair> = self.held.iter().filter_map(shown).collect();
        if pairs.is_empty() { vec![own.clone()] } else { pairs }
    }

    /// Gains and renews until `stop`. An order that runs then is taken up again at the next start.
    pub async fn run(mut self, tls: TlsServer, mut orders: Orders, mut stop: watch::Receiver<bool>) {
        let mut given = None;
        loop {
            // Names that fail one after the other would keep the owner waiting for hours. One order at a time, so that he in his turn
            // keeps nothing that is due from being done.
            if let Some(order) = given.take().or_else(|| orders.waiting()) {
                tokio::select! {
                    () = self.obey(order, &tls) => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            }
            let now = clock();
            self.tell_who_is_late(now);
            if let Some((nth, why)) = self.first_due(now) {
                tokio::select! {
                    _ = self.attempt(nth, why) => tls.show(self.shown()),
                    _ = stop.wait_for(|stop| *stop) => return,
                }
                continue;
            }
            if let Some(nth) = self.first_question(now) {
                tokio::select! {
                    () = self.ask(nth) => continue,
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            }
            tokio::select! {
                () = tokio::time::sleep(self.pause(now)) => {}
                order = orders.next() => given = Some(order),
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// The name that a certificate has been due for the longest: one that fails again and again must not keep others waiting.
    fn first_due(&self, now: i64) -> Option<(usize, Why)> {
        let plans = self.held.iter().map(|held| plan(&self.shop.settings.directory, held, now));
        let due = plans.enumerate().filter(|(_, (at, _))| *at <= now);
        due.min_by_key(|(_, (at, _))| *at).map(|(nth, (_, why))| (nth, why))
    }

    fn first_question(&self, now: i64) -> Option<usize> {
        let due = |held: &Held| {
            window::next_question(&self.shop, held).is_some_and(|at| renewal::has_come(at, now))
        };
        self.held.iter().position(due)
    }

    /// Until something is due, and no longer than until the clock is to be looked at.
    fn pause(&self, now: i64) -> Duration {
        let plans = self.held.iter().map(|held| plan(&self.shop.settings.directory, held, now).0);
        let questions = self.held.iter().filter_map(|held| window::next_question(&self.shop, held));
        let next = plans.chain(questions).min().unwrap_or(i64::MAX);
        Duration::from_secs(next.saturating_sub(now).clamp(1, LOOK).unsigned_abs())
    }

    /// Attempts it; a panic is a failure like others.
    async fn attempt(&mut self, nth: usize, why: Why) -> Result<(), Trouble> {
        let Some(held) = self.held.get_mut(nth) else { return Ok(()) };
        match sheltered(attempt::attempt(Arc::clone(&self.shop), held.clone(), why)).await {
            Ok((after, outcome)) => {
                *held = after;
                outcome
            }
            Err(panic) => {
                tracing::error!(
                    name = held.name.as_str(),
                    panic,
                    "a fault while a certificate was asked for"
                );
                // What it had written by then is true.
                held.state = State::load(&held.files, clock());
                let trouble = Trouble::ours("a fault in this program; the log has it");
                attempt::fail(held, &trouble, None).await;
                Err(trouble)
            }
        }
    }

    async fn ask(&mut self, nth: usize) {
        let Some(held) = self.held.get_mut(nth) else { return };
        match sheltered(window::ask(Arc::clone(&self.shop), held.clone())).await {
            Ok(after) => *held = after,
            Err(panic) => {
                tracing::error!(name = held.name.as_str(), panic, "a fault while the authority was asked");
                held.state.ask = clock() + TELL;
            }
        }
    }

    /// Tries for every name now, as far as an hour's attempts allow, and says what came of it.
    async fn obey(&mut self, order: Order, tls: &TlsServer) {
        let mut outcomes = Vec::new();
        for nth in 0..self.held.len() {
            outcomes.extend(self.obey_for(nth).await);
            tls.show(self.shown());
        }
        order.answer(outcomes);
    }

    async fn obey_for(&mut self, nth: usize) -> Option<Outcome> {
        let held = self.held.get(nth)?;
        let (what, now) = (held.name.to_string(), clock());
        let from = held.state.allowed_from(now, held.life().as_ref());
        if from > now {
            let (most, from) = (renewal::ATTEMPTS, shown_time(from));
            let said = format!(
                "not tried: {most} attempts were made within the hour; the next may be made at {from}"
            );
            return Some(Outcome { what, good: false, said });
        }
        let outcome = self.attempt(nth, Why::Owner).await;
        let held = self.held.get(nth)?;
        let said = match (outcome, &held.pair) {
            (Ok(()), Some(pair)) => {
                let until = shown_time(pair.facts.not_after);
                return Some(Outcome { what, good: true, said: format!("a new certificate, until {until}") });
            }
            (Ok(()), None) => "nothing came of it".into(),
            (Err(trouble), _) => {
                let life = held.life();
                let next = shown_time(plan(&self.shop.settings.directory, held, clock()).0);
                let kept = if life.is_some() { "; the one that is there stays" } else { "" };
                format!("{}{kept}; the next attempt is at {next}", trouble.why)
            }
        };
        Some(Outcome { what, good: false, said })
    }

    fn tell_who_is_late(&mut self, now: i64) {
        for (held, told) in self.held.iter().zip(&mut self.told) {
            let Some(life) = held.life().filter(|life| life.is_late_at() <= now) else { continue };
            // Told in what lies ahead: by a clock that has been set back since.
            if (0..TELL).contains(&now.saturating_sub(*told)) {
                continue;
            }
            *told = now;
            let name = held.name.as_str();
            let why = held.state.failure.as_ref().map(|failure| failure.why.as_str());
            let until = shown_time(life.end);
            match life.end < now {
                true => tracing::error!(name, until, why, "the certificate has expired, and is still shown"),
                false => tracing::error!(name, until, why, "the certificate ends soon and is not renewed"),
            }
        }
    }
}

/// Runs it in a task of its own, which ends with the call: a panic in it becomes an `Err` with its words. What authorities say
/// is read there, and must not be able to end the server.
async fn sheltered<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, String> {
    let mut task = JoinSet::new();
    task.spawn(work);
    match task.join_next().await {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("it was never begun".into()),
    }
}

/// When a certificate for the name is to be asked for, and why.
fn plan(directory: &str, held: &Held, now: i64) -> (i64, Why) {
    let life = held.life();
    let earliest = held.state.earliest(now, life.as_ref());
    let Some(life) = life else { return (earliest, Why::Missing) };
    if held.state.directory.as_ref().is_some_and(|from| from != directory) {
        return (earliest, Why::Elsewhere);
    }
    if held.state.running && held.state.order.is_some() {
        return (earliest, Why::Unfinished);
    }
    let (due, aged) = (due(held, &life, now), renewal::due(&life, None));
    (due.max(earliest), if due < aged { Why::Window } else { Why::Age })
}

/// When the certificate is to be renewed, whatever was tried.
fn due(held: &Held, life: &Life, now: i64) -> i64 {
    let window = window::known(held);
    let due = renewal::due(life, window);
    // What lies ahead was written under a clock that has been set back since.
    let gained = held.state.success.filter(|at| window.is_some() && *at <= now);
    gained.map_or(due, |gained| due.max(renewal::spared_until(life, gained)))
}

/// The certificate that is kept for a name, if it is one of our key. One that is not is left where it is, and replaced
/// when there is a better one.
fn pair_of(files: &Files, key: &str, name: &Domain) -> Option<Pair> {
    let path = files.chain.display();
    let chain = match std::fs::read(&files.chain) {
        Ok(chain) => chain,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!("{path}: {error}; another certificate is asked for");
            return None;
        }
    };
    match Pair::from_pem(&chain, key.as_bytes()) {
        Ok(pair) if pair.is_for(name.as_str()) => Some(pair),
        Ok(_) => {
            tracing::warn!("{path} is not for {name}; another certificate is asked for");
            None
        }
        Err(error) => {
            tracing::warn!("{path}: {error}; another certificate is asked for");
            None
        }
    }
}

/// Unix seconds.
fn clock() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// As people read it, in UTC.
fn shown_time(at: i64) -> String {
    jiff::Timestamp::from_second(at).map_or_else(|_| "a time out of reach".into(), |at| at.to_string())
}

#[cfg(test)]
mod tests;
