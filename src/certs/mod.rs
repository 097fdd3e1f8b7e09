//! What the doors show under TLS, and its upkeep: our own certificate, files that somebody else renews, or certificates
//! from an authority.

pub mod acme;
mod durable;
pub mod files;
pub mod orders;
mod own;
pub mod status;
pub mod words;

use crate::config;
use crate::error::{Exit, Failure};
use crate::mail::address::Domain;
use crate::net::tls::pair::Pair;
use crate::net::tls::server::TlsServer;
use acme::Acme;
use files::Files;
use orders::{Orders, Outcome, Renewals};
use std::path::{Path, PathBuf};
use tokio::sync::watch;

/// The directory of keys and certificates.
pub fn directory_in(state_dir: &Path) -> PathBuf {
    state_dir.join("tls")
}

/// Looks after what is shown.
pub struct Keeper {
    tls: TlsServer,
    source: Source,
    orders: Orders,
}

/// Where certificates come from.
enum Source {
    /// Ourselves; for this name.
    Own(String),
    /// `tls.cert` and `tls.key`.
    Files(Files),
    /// `[tls.acme]`.
    Acme(Box<Acme>),
}

impl Source {
    /// What the configuration says. An error is a contradiction in it, and nothing else: whatever cannot be had now, our own pair
    /// stands in for it.
    fn open(config: &config::Server, name: &Domain, (key, own): (String, &Pair)) -> Result<Source, Failure> {
        let paths = files::configured(&config.tls)?;
        match (&config.tls.acme, paths.is_empty()) {
            (None, true) => Ok(Source::Own(name.to_string())),
            (None, false) => Ok(Source::Files(Files::open(paths, own.clone()))),
            (Some(acme), true) => {
                let directory = directory_in(&config.state_dir);
                let kept = (directory.as_path(), key, own.clone());
                Ok(Source::Acme(Box::new(Acme::open(config, acme, name, kept)?)))
            }
            (Some(_), false) => {
                let text = "certificates come from files or from an authority: take tls.cert and tls.key out, or tls.acme";
                Err(Failure::new(Exit::Config, text))
            }
        }
    }
}

impl Keeper {
    /// Finds what can be shown at once, which is our own certificate where there is nothing better. Blocks. It is to be called as the
    /// server's user: what can be read then can be read later.
    pub fn open(config: &config::Server, name: &Domain) -> Result<(Keeper, TlsServer, Renewals), Failure> {
        let directory = directory_in(&config.state_dir);
        durable::make_directory(&directory)
            .map_err(|error| Failure::new(Exit::CantCreat, format!("{}: {error}", directory.display())))?;
        let key = own::key(&directory)?;
        let own = own::self_signed(&directory, name.as_str(), &key)?;
        let source = Source::open(config, name, (key, &own))?;
        let shown = match &source {
            Source::Own(_) => vec![own],
            Source::Files(files) => files.shown(),
            Source::Acme(acme) => acme.shown(),
        };
        let tls = TlsServer::new(shown).map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
        let (renewals, orders) = orders::channel();
        Ok((Keeper { tls: tls.clone(), source, orders }, tls, renewals))
    }

    /// Keeps what is shown up to date until `stop`.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let (Keeper { tls, source, mut orders }, told) = (self, stop.clone());
        let keeping = async {
            match source {
                Source::Own(name) => keep_own(&name, &mut orders).await,
                Source::Files(files) => files.keep(&tls, &mut orders).await,
                Source::Acme(acme) => acme.run(tls, orders, told).await,
            }
        };
        tokio::select! {
            () = keeping => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
}

/// There is nothing to renew; whoever asks is told how to have more.
async fn keep_own(name: &str, orders: &mut Orders) {
    loop {
        let said = "our own certificate, valid until the end of the century: there is nothing to renew. Nobody else vouches for it; \
                    [tls.acme] in server.toml gets one from an authority, tls.cert and tls.key name the files of another program";
        let outcome = Outcome { what: name.to_owned(), good: true, said: said.into() };
        orders.next().await.answer(vec![outcome]);
    }
}
