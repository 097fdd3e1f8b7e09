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
use std::time::Duration;
use tokio::time::{sleep, timeout};
use watched::{Age, News, Watched};

/// How often files are looked at. Not inotify: what changes is a link in the way to them, in one directory or another.
const EVERY: Duration = Duration::from_secs(5);
/// How long a look may take before somebody is told that the disk hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// The files, chain and key together, and what is shown of them.
#[derive(Debug)]
pub struct Files(Vec<Watched>);

/// What a look brings back: an [`Outcome`] for each pair.
type Look = Pin<Box<dyn Future<Output = (Files, Vec<Outcome>)> + Send>>;

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
    /// better than none. Blocks.
    pub fn open(paths: Vec<Paths>, own: &Pair) -> Files {
        let mut files = Files(paths.into_iter().map(|paths| Watched::new(paths, own.clone())).collect());
        files.look(true);
        files
    }

    /// What is to be shown, the default first.
    pub fn shown(&self) -> Vec<Pair> {
        self.0.iter().map(|watched| watched.shown().clone()).collect()
    }

    /// Looks at them for ever, and at once when it is ordered to.
    pub async fn keep(self, tls: &TlsServer, orders: &mut Orders) {
        let (mut here, mut away): (Option<Files>, Option<Look>) = (Some(self), None);
        let mut hangs = false;
        loop {
            let order = tokio::select! {
                order = orders.next() => Some(order),
                () = sleep(EVERY) => None,
            };
            let hasty = order.is_some();
            // A look that hangs is waited for: a second one would hang as well, and hold one more thread.
            let mut look = match (away.take(), here.take()) {
                (Some(look), _) => look,
                (None, Some(files)) => files.begin(hasty),
                (None, None) => return,
            };
            let outcomes = match timeout(PATIENCE, &mut look).await {
                Ok((files, outcomes)) => {
                    tls.show(files.shown());
                    (here, hangs) = (Some(files), false);
                    outcomes
                }
                Err(_) => {
                    away = Some(look);
                    if !std::mem::replace(&mut hangs, true) {
                        let remedy = "see to the disk of tls.cert and tls.key; what was read last is shown";
                        tracing::error!(remedy, "reading the certificates hangs");
                    }
                    vec![stuck()]
                }
            };
            if let Some(order) = order {
                order.answer(outcomes);
            }
        }
    }

    fn begin(mut self, hasty: bool) -> Look {
        Box::pin(blocking(move || {
            let outcomes = self.look(hasty);
            (self, outcomes)
        }))
    }

    /// One look at each of them, with what there is to say. Blocks.
    fn look(&mut self, hasty: bool) -> Vec<Outcome> {
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
        self.0.iter_mut().map(look).collect()
    }
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
