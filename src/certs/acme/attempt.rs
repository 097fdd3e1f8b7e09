//! One attempt to gain a certificate for one name, with what must be durable at each step.

use super::account::Accounts;
use super::client::{Client, Trouble};
use super::order::{self, Wanted};
use super::settings::Settings;
use super::state::{Begun, Files, State};
use super::{clock, shown_time};
use crate::certs::durable;
use crate::mail::address::Domain;
use crate::net::https::Https;
use crate::net::tls::pair::{Facts, Pair};
use crate::policy::renewal::{self, Life};
use crate::system::threads::blocking;
use instant_acme::{Account, Order, OrderStatus};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long an attempt may take in all.
const PATIENCE: Duration = Duration::from_secs(300);
/// Attempts that work at one order. One that does not come to an end is replaced.
const TRIES: u32 = 3;
/// How often an order is gone on with in one attempt after a nonce was refused.
const TURNS: u32 = 20;
/// By how many seconds a certificate may begin to be valid in what our clock calls the future.
const TOLERANCE: i64 = 3600;
/// Certificates of a chain.
const CHAIN: usize = 10;

/// What all names have in common.
pub struct Shop {
    /// What is configured.
    pub settings: Settings,
    /// The way to the authority.
    pub https: Https,
    /// Our account there.
    pub accounts: Accounts,
    /// The one key of all certificates, PEM.
    pub key: String,
}

/// One name and what is there for it.
#[derive(Clone)]
pub struct Held {
    /// The name.
    pub name: Domain,
    /// Where its files are.
    pub files: Files,
    /// What is remembered.
    pub state: State,
    /// Its certificate.
    pub pair: Option<Pair>,
}

/// Why a certificate is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is none, or none of our key.
    Missing,
    /// The one that is there is from another authority.
    Elsewhere,
    /// An order was left unfinished.
    Unfinished,
    /// It has lived long enough.
    Age,
    /// The authority asks for it.
    Window,
    /// The owner asks for it.
    Owner,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Missing => "there is none",
            Why::Elsewhere => "the one that is there is from another authority",
            Why::Unfinished => "an order was left unfinished",
            Why::Age => "the one that is there has lived two thirds of its life",
            Why::Window => "the authority asks for a renewal",
            Why::Owner => "the owner asks for it",
        })
    }
}

/// What decides about a certificate's renewal.
pub fn life(facts: &Facts) -> Life {
    let [high, low, ..] = facts.fingerprint;
    Life { begin: facts.not_before, end: facts.not_after, lot: u16::from_be_bytes([high, low]) }
}

impl Held {
    /// Its certificate's life.
    pub fn life(&self) -> Option<Life> {
        self.pair.as_ref().map(|pair| life(&pair.facts))
    }

    /// Makes what is remembered durable.
    pub async fn store(&self) -> Result<(), Trouble> {
        let (state, files) = (self.state.clone(), self.files.clone());
        let path = files.state.clone();
        let stored = blocking(move || state.store(&files)).await;
        stored.map_err(|error| Trouble::ours(format!("{}: {error}", path.display())))
    }
}

/// Tries once. That it is tried is durable before the authority hears of it; what came of it is in the state that comes
/// back, and in the log.
pub async fn attempt(shop: Arc<Shop>, mut held: Held, why: Why) -> (Held, Result<(), Trouble>) {
    let life = held.life();
    held.state.begin(clock(), life.as_ref());
    let client = Client::new(shop.https.clone());
    let outcome = match held.store().await {
        // What cannot be counted is not done.
        Err(trouble) => Err(trouble),
        Ok(()) => {
            let (name, attempt) = (held.name.as_str(), held.state.failures);
            tracing::info!(name, %why, attempt, directory = shop.settings.directory, "asking for a certificate");
            let late = |_| Err(Trouble::ours(format!("not done within {} seconds", PATIENCE.as_secs())));
            let gained = tokio::time::timeout(PATIENCE, gain(&shop, &client, &mut held, why)).await;
            gained.unwrap_or_else(late)
        }
    };
    match outcome {
        Ok(pair) => {
            held.state.succeed(clock(), &shop.settings.directory);
            let stored = held.store().await;
            announce(&held.name, &pair.facts);
            held.pair = Some(pair);
            if let Err(trouble) = stored {
                tracing::warn!(
                    name = held.name.as_str(),
                    trouble.why,
                    "a certificate is there, its record is not"
                );
            }
            (held, Ok(()))
        }
        Err(trouble) => {
            fail(&mut held, &trouble, client.imposed()).await;
            (held, Err(trouble))
        }
    }
}

/// Notes a failure, and says so.
pub async fn fail(held: &mut Held, trouble: &Trouble, imposed: Option<i64>) {
    let life = held.life();
    let now = clock();
    held.state.fail(now, life.as_ref(), trouble.why.clone(), imposed);
    let next = shown_time(held.state.earliest(now, life.as_ref()));
    let stored = held.store().await;
    let (name, attempt) = (held.name.as_str(), held.state.failures);
    tracing::warn!(name, attempt, next, why = trouble.why, "no certificate");
    if let Err(trouble) = stored {
        // In memory it is known; after a restart the attempt's beginning is.
        tracing::warn!(name, trouble.why, "the failure is not recorded");
    }
}

fn announce(name: &Domain, facts: &Facts) {
    let tlsa: String = facts.key.iter().map(|octet| format!("{octet:02x}")).collect();
    tracing::info!(
        name = name.as_str(),
        issuer = facts.issuer,
        until = shown_time(facts.not_after),
        renewal = shown_time(renewal::due(&life(facts), None)),
        tlsa = format!("3 1 1 {tlsa}"),
        "a certificate is there"
    );
}

/// Gains a certificate, which is durable when this returns. A nonce that was refused is no failure (RFC 8555 section 6.5):
/// the crate tries again a few times by itself, and what it leaves is taken up here from where the order stands.
async fn gain(shop: &Shop, client: &Client, held: &mut Held, why: Why) -> Result<Pair, Trouble> {
    if let Some(begun) = held.state.order.take() {
        let good = begun.directory == shop.settings.directory && begun.tries < TRIES;
        held.state.order = good.then_some(Begun { tries: begun.tries + 1, ..begun });
    }
    let mut turn = Turn { shop, client, why, nth: 0 };
    loop {
        turn.nth += 1;
        match turn.take(held).await {
            Err(trouble) if trouble.is("badNonce") && turn.nth < TURNS => {}
            other => return other,
        }
    }
}

/// One way from where the order stands towards its end.
struct Turn<'a> {
    shop: &'a Shop,
    client: &'a Client,
    why: Why,
    nth: u32,
}

impl Turn<'_> {
    async fn take(&self, held: &mut Held) -> Result<Pair, Trouble> {
        let shop = self.shop;
        let mut order = match self.place(held).await {
            Err(trouble) if trouble.is("accountDoesNotExist") => {
                // It has lost its memory, or was set up anew. Our key is still good for another account.
                let directory = &shop.settings.directory;
                tracing::warn!(directory, "the authority does not know our account any more");
                shop.accounts.forget().await?;
                held.state.order = None;
                self.place(held).await?
            }
            other => other?,
        };
        let old = held.pair.clone();
        let chain = match order::fulfil(&mut order, &wanted(shop, held, old.as_ref())).await {
            Ok(chain) => chain,
            Err(trouble) => {
                if order.state().status == OrderStatus::Invalid {
                    held.state.order = None;
                }
                return Err(trouble);
            }
        };
        let spared = matches!(self.why, Why::Age | Why::Unfinished).then_some(old).flatten();
        let pair = match acceptable(&chain, &shop.key, &held.name, spared.as_ref(), clock()) {
            Ok(pair) => pair,
            Err(unfit) => {
                // Another order may bring a better one; this one would bring the same again. But where our clock is wrong every
                // order would bring one that is not taken, and authorities count them.
                if !unfit.in_time {
                    held.state.order = None;
                }
                return Err(Trouble::wrong(unfit.why));
            }
        };
        let path = held.files.chain.clone();
        let shown = path.display().to_string();
        let written = blocking(move || durable::write(&path, chain.as_bytes())).await;
        written.map_err(|error| Trouble::ours(format!("{shown}: {error}")))?;
        Ok(pair)
    }

    /// The order that was begun, else a new one. Where it is is durable before anything more is done for it.
    async fn place(&self, held: &mut Held) -> Result<Order, Trouble> {
        let account = self.shop.accounts.open(self.client).await?;
        if let Some(order) = self.take_up(&account, held).await? {
            return Ok(order);
        }
        let old = held.pair.clone();
        let order = order::begin(&account, &wanted(self.shop, held, old.as_ref())).await?;
        let directory = self.shop.settings.directory.clone();
        held.state.order = Some(Begun { directory, url: order.url().to_owned(), tries: 1 });
        held.store().await?;
        Ok(order)
    }

    async fn take_up(&self, account: &Account, held: &mut Held) -> Result<Option<Order>, Trouble> {
        let Some(Begun { url, .. }) = held.state.order.clone() else { return Ok(None) };
        if let Some(mut order) = order::resume(account, &url).await? {
            if order.state().status != OrderStatus::Invalid {
                tracing::debug!(url, "taking up the order that was begun");
                return Ok(Some(order));
            }
            // One that this very attempt has worked at: another belongs to another attempt.
            if self.nth > 1 {
                held.state.order = None;
                return Err(order::refusal(&mut order).await);
            }
        }
        tracing::debug!(url, "the order that was begun is no more");
        held.state.order = None;
        Ok(None)
    }
}

fn wanted<'a>(shop: &'a Shop, held: &'a Held, old: Option<&'a Pair>) -> Wanted<'a> {
    // Only an authority that speaks of renewals wants to hear of them, and only of its own certificates.
    let same = held.state.directory.as_ref() == Some(&shop.settings.directory) && held.state.window.is_some();
    let replaces = old.filter(|_| same).map(Pair::certificate);
    Wanted { name: &held.name, key: &shop.key, listen: &shop.settings.listen, replaces }
}

/// Why a chain is not taken.
#[derive(Debug)]
pub struct Unfit {
    why: String,
    /// Whether it may do at another time, or by a clock that is right.
    in_time: bool,
}

impl From<String> for Unfit {
    fn from(why: String) -> Unfit {
        Unfit { why, in_time: false }
    }
}

/// Whether a chain may take the place of what is there: whatever is wrong with it, the old one is better. `old` is one that
/// must not be replaced by one that is older.
pub fn acceptable(
    chain: &str,
    key: &str,
    name: &Domain,
    old: Option<&Pair>,
    now: i64,
) -> Result<Pair, Unfit> {
    let untimely = |why| Unfit { why, in_time: true };
    if chain.matches("BEGIN CERTIFICATE").count() > CHAIN {
        return Err(format!("the chain has more than {CHAIN} certificates").into());
    }
    let pair = Pair::from_pem(chain.as_bytes(), key.as_bytes()).map_err(|error| error.to_string())?;
    let facts = &pair.facts;
    if !facts.is_for(name.as_str()) {
        return Err(format!("the certificate is not for {name}").into());
    }
    if facts.not_before > now + TOLERANCE {
        let begin = shown_time(facts.not_before);
        return Err(untimely(format!("the certificate is valid from {begin} only (is the clock right?)")));
    }
    if facts.not_after <= now || renewal::due(&life(facts), None) <= now {
        let end = shown_time(facts.not_after);
        return Err(untimely(format!(
            "the certificate, valid until {end}, is due for renewal already (is the clock right?)"
        )));
    }
    // A newer one may end earlier: authorities shorten the lives that they give, and each further order would bring the same.
    let older = |old: &Facts| old.not_after > facts.not_after && old.not_before >= facts.not_before;
    if old.is_some_and(|old| older(&old.facts)) {
        return Err(String::from("the certificate is older than the one that it is to replace").into());
    }
    Ok(pair)
}

#[cfg(test)]
mod tests;
