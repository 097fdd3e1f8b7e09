//! What the doors show under TLS, and its upkeep: our own certificate, files that somebody else renews, or certificates
//! from an authority.

pub mod acme;
mod durable;
mod files;
pub mod orders;
mod own;

use crate::config;
use crate::error::{Exit, Failure};
use crate::mail::address::Domain;
use crate::net::tls::server::TlsServer;
use acme::Acme;
use files::Files;
use orders::{Orders, Renewals};
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
    /// Ourselves.
    Own,
    /// `tls.cert` and `tls.key`.
    Files(Files),
    /// `[tls.acme]`.
    Acme(Box<Acme>),
}

impl Keeper {
    /// Finds what can be shown at once, which is our own certificate where there is nothing better. Blocks.
    pub fn open(config: &config::Server, name: &Domain) -> Result<(Keeper, TlsServer, Renewals), Failure> {
        let directory = directory_in(&config.state_dir);
        durable::make_directory(&directory)
            .map_err(|error| Failure::new(Exit::CantCreat, format!("{}: {error}", directory.display())))?;
        let key = own::key(&directory)?;
        let own = own::self_signed(&directory, name.as_str(), &key)?;
        let source = match (&config.tls.acme, config.tls.cert.is_empty() && config.tls.key.is_empty()) {
            (None, true) => Source::Own,
            (None, false) => Source::Files(Files::of(&config.tls)?),
            (Some(acme), true) => {
                let kept = (directory.as_path(), key, own.clone());
                Source::Acme(Box::new(Acme::open(config, acme, name, kept)?))
            }
            (Some(_), false) => {
                let text = "certificates come from files or from an authority: take tls.cert and tls.key out, or tls.acme";
                return Err(Failure::new(Exit::Config, text));
            }
        };
        let shown = match &source {
            Source::Own => vec![own],
            Source::Files(files) => files.read_or(own),
            Source::Acme(acme) => acme.shown(),
        };
        let tls = TlsServer::new(shown).map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
        let (renewals, orders) = orders::channel();
        Ok((Keeper { tls: tls.clone(), source, orders }, tls, renewals))
    }

    /// Keeps what is shown up to date until `stop`.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        if let Source::Acme(acme) = self.source {
            return acme.run(self.tls, self.orders, stop).await;
        }
        loop {
            let order = tokio::select! {
                order = self.orders.next() => order,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            order.answer(Vec::new());
        }
    }
}
