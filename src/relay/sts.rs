//! MTA-STS policies: fetched over HTTPS, kept durably (RFC 8461).

mod shelf;
#[cfg(test)]
mod tests;

use crate::config;
use crate::mail::address::Domain;
use crate::net::dns::Dns;
use crate::net::https::{Https, HttpsError};
use crate::net::tls::TlsClient;
use crate::policy::sts::{self, Mode, Policy};
use crate::system::threads::blocking;
use shelf::{Kept, Shelf};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedMutexGuard, Semaphore};

/// How long a delivery waits for what is new. A fetch that takes longer goes on without it, for the next one: RFC 8461
/// section 3.3 has mail go on where no policy can be had, and a slow policy server must not hold it up.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a domain is left alone after a fetch that failed, in seconds (section 3.3).
const PAUSE: u64 = 5 * 60;
/// When a policy that is used is fetched again although its id is the same, in seconds (section 3.3): whoever can keep
/// us from fetching then has to do so for all of its time.
const REFRESH: u64 = 24 * 3600;
/// How long a fetch may take (section 3.3).
const FETCH: Duration = Duration::from_secs(60);
/// The largest policy file, in octets (section 3.3).
const POLICY: usize = 64 << 10;
/// How many domains are known in memory.
const SEATS: usize = 256;
/// How many fetches are under way at once.
const FETCHES: usize = 64;

/// The policies that are known. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StsCache {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    https: Https,
    shelf: Shelf,
    patience: Duration,
    seats: Mutex<HashMap<Domain, Arc<Seat>>>,
    fetches: Semaphore,
}

/// What is known of a domain.
#[derive(Debug)]
struct Seat {
    state: Mutex<State>,
    /// Held by whoever fetches.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct State {
    kept: Option<Kept>,
    /// When a fetch failed, if the last one did.
    failed: Option<i64>,
}

/// What the id in DNS asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    /// A fetch that nobody has to wait for.
    InPassing,
    Fetch,
}

impl StsCache {
    /// Opens `state_dir/mta-sts`; what cannot be read there is left out with a log line.
    pub fn open(state_dir: &Path, dns: Dns, tls: TlsClient, config: &config::Relay) -> StsCache {
        let https = Https {
            dns,
            tls,
            port: config.sts_port,
            source: config.source.clone(),
            allow_private: config.allow_private,
        };
        StsCache::new(https, Shelf::open(state_dir.join("mta-sts")), PATIENCE)
    }

    fn new(https: Https, shelf: Shelf, patience: Duration) -> StsCache {
        let (seats, fetches) = (Mutex::default(), Semaphore::new(FETCHES));
        StsCache { inner: Arc::new(Inner { https, shelf, patience, seats, fetches }) }
    }

    /// The policy that is in force for a domain at `now` (Unix seconds); none if it has none, or none that could ever be
    /// fetched. Asks DNS, and fetches where the TXT record's id is a new one; takes ten seconds at most, and falls back
    /// on what is kept. Where that cannot be read, nobody knows what the domain demands: an error, which says why.
    pub async fn policy(&self, domain: &Domain, now: i64) -> Result<Option<Policy>, String> {
        let seat = self.seat(domain).await?;
        self.correct(domain, &seat, now).await;
        if tokio::time::timeout(self.inner.patience, self.renew(domain, &seat, now)).await.is_err() {
            tracing::warn!(%domain, "MTA-STS: what is published is slow to come; going on with what is known");
        }
        let state = seat.lock();
        let kept = state.kept.as_ref().filter(|kept| kept.is_fresh(now) && kept.policy.mode != Mode::None);
        Ok(kept.map(|kept| kept.policy.clone()))
    }

    async fn seat(&self, domain: &Domain) -> Result<Arc<Seat>, String> {
        if let Some(seat) = self.seats().get(domain) {
            return Ok(Arc::clone(seat));
        }
        let (inner, name) = (Arc::clone(&self.inner), domain.clone());
        let kept = blocking(move || inner.shelf.load(&name)).await?;
        let mut seats = self.seats();
        if seats.len() >= SEATS {
            // What is in nobody's hands is read again when it is asked for.
            seats.retain(|_, seat| Arc::strong_count(seat) > 1);
        }
        let state = Mutex::new(State { kept, failed: None });
        let seat = seats.entry(domain.clone());
        Ok(Arc::clone(seat.or_insert_with(|| Arc::new(Seat { state, turn: Arc::default() }))))
    }

    /// A policy that was fetched while the clock was wrong counts from now, or it might be in force for ever.
    async fn correct(&self, domain: &Domain, seat: &Seat, now: i64) {
        let corrected = seat.lock().kept.as_mut().filter(|kept| kept.is_from_the_future(now)).map(|kept| {
            kept.fetched = now;
            kept.clone()
        });
        if let Some(kept) = corrected {
            self.store(domain, kept).await;
        }
    }

    /// Looks whether something else is published than what is kept, and fetches it.
    async fn renew(&self, domain: &Domain, seat: &Arc<Seat>, now: i64) {
        let Some(id) = self.published(domain).await else { return };
        let turn = match seat.need(&id, now) {
            Need::Nothing => return,
            Need::InPassing => Arc::clone(&seat.turn).try_lock_owned().ok(),
            Need::Fetch => Some(Arc::clone(&seat.turn).lock_owned().await),
        };
        // Somebody may have fetched it while we waited for our turn.
        let (Some(turn), need) = (turn, seat.need(&id, now)) else { return };
        if need == Need::Nothing {
            return;
        }
        let (cache, domain, seat) = (self.clone(), domain.clone(), Arc::clone(seat));
        // A task of its own, which outlives our patience; a panic there is its own end only.
        let task = tokio::spawn(async move { cache.fetch(&domain, &seat, id, now, turn).await });
        if need == Need::Fetch {
            let _ = task.await;
        }
    }

    /// The id in DNS; without one, and where DNS fails, what is kept stays as it is (RFC 8461 section 5.1).
    async fn published(&self, domain: &Domain) -> Option<String> {
        match self.inner.https.dns.txt(&format!("_mta-sts.{domain}")).await {
            Ok(texts) => sts::published_id(&texts).map(str::to_owned),
            Err(error) => {
                tracing::info!(%domain, %error, "MTA-STS: the domain's record cannot be asked for");
                None
            }
        }
    }

    async fn fetch(&self, domain: &Domain, seat: &Seat, id: String, now: i64, _turn: OwnedMutexGuard<()>) {
        let _place = self.inner.fetches.acquire().await;
        match self.download(domain).await {
            Ok(policy) => {
                let kept = Kept { id, fetched: now, policy };
                tracing::info!(%domain, policy = kept.id, mode = ?kept.policy.mode, "MTA-STS: fetched the policy");
                *seat.lock() = State { kept: Some(kept.clone()), failed: None };
                self.store(domain, kept).await;
            }
            Err(error) => {
                let mut state = seat.lock();
                state.failed = Some(now);
                let known = state.kept.as_ref().is_some_and(|kept| kept.is_fresh(now));
                tracing::warn!(%domain, %error, known, "MTA-STS: the policy cannot be fetched");
            }
        }
    }

    async fn download(&self, domain: &Domain) -> Result<Policy, HttpsError> {
        let host =
            Domain::parse(&format!("mta-sts.{domain}")).map_err(|error| HttpsError(error.to_string()))?;
        let document = self.inner.https.get(&host, "/.well-known/mta-sts.txt", POLICY, FETCH).await?;
        if document.media_type != "text/plain" {
            let found = document.media_type.escape_default();
            return Err(HttpsError(format!("{host}: it sends no text/plain but \"{found}\"")));
        }
        Policy::parse(&document.body).map_err(|error| HttpsError(format!("{host}: no policy: {error}")))
    }

    /// What cannot be stored is known until the program ends.
    async fn store(&self, domain: &Domain, kept: Kept) {
        let (inner, domain) = (Arc::clone(&self.inner), domain.clone());
        blocking(move || {
            if let Err(error) = inner.shelf.store(&domain, &kept) {
                tracing::error!(%domain, %error, "an MTA-STS policy cannot be kept beyond the next start");
            }
        })
        .await;
    }

    fn seats(&self) -> MutexGuard<'_, HashMap<Domain, Arc<Seat>>> {
        self.inner.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    fn need(&self, id: &str, now: i64) -> Need {
        let state = self.lock();
        // Whichever way the clock has jumped.
        let paused = state.failed.is_some_and(|failed| now.abs_diff(failed) < PAUSE);
        match &state.kept {
            _ if paused => Need::Nothing,
            Some(kept) if kept.id == id && kept.is_fresh(now) => match kept.is_old(now, REFRESH) {
                true => Need::InPassing,
                false => Need::Nothing,
            },
            _ => Need::Fetch,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
