//! Certificates that somebody else renews, as certbot does: files that are looked at every few seconds.

mod reading;
mod watched;

pub use reading::Paths;

use super::orders::{Orders, Outcome};
use super::words;
use crate::config::Tls;
use crate::error::{Exit, Failure};
use crate::net::tls::pair::{Facts, Pair};
use crate::net::tls::server::TlsServer;
use crate::system::threads::blocking;
use std::pin::Pin;
use std::sync::mpsc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use watched::{Age, News, Watched};

/// How often files are looked at. Not inotify: what changes is a link in the way to them, in one directory or another.
const EVERY: Duration = Duration::from_secs(5);
/// How long a look may take before it is said that the disk hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// The files, chain and key together, and what is shown of them.
pub struct Files {
    now: Now,
    /// What is shown in the place of what could not be read yet.
    own: Pair,
}

/// Where the watched pairs are: with us, or with a look that takes its time.
enum Now {
    Here(Vec<Watched>),
    Away(Look),
}

/// A look that goes on. It brings the pairs back, with an [`Outcome`] for each.
type Look = Pin<Box<dyn Future<Output = (Vec<Watched>, Vec<Outcome>)> + Send>>;

/// The pairs of files in the configuration; an error is a contradiction in it.
pub fn configured(tls: &Tls) -> Result<Vec<Paths>, Failure> {
    if tls.cert.len() != tls.key.len() {
        let (certs, keys) = (tls.cert.len(), tls.key.len());
        let text = format!(
            "tls.cert has {certs} files and tls.key {keys}; each chain needs the key that belongs to it"
        );
        return Err(Failure::new(Exit::Config, text));
    }
    let pairs = tls.cert.iter().zip(&tls.key);
    Ok(pairs.map(|(cert, key)| Paths { cert: cert.clone(), key: key.clone() }).collect())
}

impl Files {
    /// Reads them; `own` stands in for a pair that cannot be used, which is said: mail under a certificate that nobody vouches for is
    /// better than none. Blocks, but not on a disk that hangs.
    pub fn open(paths: Vec<Paths>, own: Pair) -> Files {
        let watched: Vec<_> = paths.into_iter().map(|paths| Watched::new(paths, own.clone())).collect();
        let (send, receive) = mpsc::channel();
        // Nobody waits for it when we end before it.
        std::thread::spawn(move || send.send(look(watched, true)));
        let now = match receive.recv_timeout(PATIENCE) {
            Ok((watched, _)) => Now::Here(watched),
            Err(_) => {
                tell_hanging();
                Now::Away(Box::pin(async {
                    match blocking(move || receive.recv()).await {
                        Ok(looked) => looked,
                        // It broke off: there is nothing to come.
                        Err(_) => std::future::pending().await,
                    }
                }))
            }
        };
        Files { now, own }
    }

    /// What is to be shown, the default first.
    pub fn shown(&self) -> Vec<Pair> {
        match &self.now {
            Now::Here(watched) => watched.iter().map(|watched| watched.shown().clone()).collect(),
            Now::Away(_) => vec![self.own.clone()],
        }
    }

    /// Looks at them for ever, and at once when it is ordered to.
    pub async fn keep(self, tls: &TlsServer, orders: &mut Orders) {
        let mut now = self.now;
        loop {
            let order = tokio::select! {
                order = orders.next() => Some(order),
                () = sleep(EVERY) => None,
            };
            // A look that hangs is waited for: a second one would hang as well, and hold one more thread.
            let (mut looking, hung) = match now {
                Now::Away(looking) => (looking, true),
                Now::Here(watched) => (begin(watched, order.is_some()), false),
            };
            let outcomes = match timeout(PATIENCE, &mut looking).await {
                Ok((watched, outcomes)) => {
                    tls.show(watched.iter().map(|watched| watched.shown().clone()).collect());
                    now = Now::Here(watched);
                    outcomes
                }
                Err(_) => {
                    if !hung {
                        tell_hanging();
                    }
                    now = Now::Away(looking);
                    vec![stuck()]
                }
            };
            if let Some(order) = order {
                order.answer(outcomes);
            }
        }
    }
}

fn begin(watched: Vec<Watched>, hasty: bool) -> Look {
    Box::pin(blocking(move || look(watched, hasty)))
}

/// One look at each of them, with what there is to say. Blocks.
fn look(mut all: Vec<Watched>, hasty: bool) -> (Vec<Watched>, Vec<Outcome>) {
    let now = jiff::Timestamp::now().as_second();
    let look = |watched: &mut Watched| {
        let news = watched.look(now, hasty);
        if let Some(news) = &news {
            tell(watched, news);
        }
        if let Some(age) = watched.age(now) {
            tell_age(watched, age);
        }
        watched.outcome(now, news.as_ref())
    };
    let outcomes = all.iter_mut().map(look).collect();
    (all, outcomes)
}

fn tell_hanging() {
    let remedy = "see to the disk of tls.cert and tls.key; what was read last is shown, or our own";
    tracing::error!(remedy, "reading the certificates hangs");
}

fn stuck() -> Outcome {
    let said = "reading them hangs; see to the disk that they are on; what was read last is shown";
    Outcome { what: "tls.cert and tls.key".into(), good: false, said: said.into() }
}

fn tell(watched: &Watched, news: &News) {
    match news {
        News::Taken(facts) => {
            let Facts { names, issuer, not_after, key, .. } = &**facts;
            let cert = watched.files().cert.display();
            let (names, until) = (words::names(names), words::local(*not_after));
            let tlsa = format!("3 1 1 {}", words::hex(key));
            tracing::info!(%cert, names, issuer, until, tlsa, "a certificate is shown");
        }
        News::Refused(why) if watched.stands_in() => {
            tracing::error!(why, shown = watched.meanwhile(), "a certificate cannot be used");
        }
        News::Refused(why) => {
            tracing::warn!(why, shown = watched.meanwhile(), "a new certificate is not taken");
        }
    }
}

fn tell_age(watched: &Watched, age: Age) {
    let Facts { names, not_after, .. } = &watched.shown().facts;
    let cert = watched.files().cert.display();
    let (names, until) = (words::names(names), words::local(*not_after));
    let remedy = "whoever renews it (`certbot renew`) must put the new one there; it is taken by itself";
    match age {
        Age::Old => {
            tracing::warn!(%cert, names, until, remedy, "a certificate ends soon, and nobody renewed it")
        }
        Age::Expired => tracing::error!(%cert, names, until, remedy, "a certificate has expired"),
    }
}
