//! The part of a server that looks after certificates, in this process, where an owner can ask it to renew.

use super::certs::MX;
use super::{Dns, runtime};
use pillarbox::certs::orders::{Outcome, Renewals};
use pillarbox::certs::{Keeper, acme};
use pillarbox::config;
use pillarbox::mail::address::Domain;
use pillarbox::net::tls::server::TlsServer;
use std::path::Path;
use tokio::sync::watch;

/// One that runs until it is dropped.
pub struct Kept {
    pub tls: TlsServer,
    renewals: Renewals,
    stop: watch::Sender<bool>,
    config: config::Server,
}

impl Kept {
    pub fn open(state: &Path, dns: &Dns, table: &str) -> Kept {
        let file = state.join("server.toml");
        let text = format!(
            "hostname = {MX:?}\nstate_dir = {state:?}\n[dns]\nservers = [\"{}\"]\n{table}",
            dns.address()
        );
        std::fs::write(&file, text).unwrap();
        let sources = config::Sources { file: Some(file), ..config::Sources::default() };
        let config = config::Server::load(&sources).unwrap();
        let (keeper, tls, renewals) = {
            let _inside = runtime().enter();
            Keeper::open(&config, &Domain::parse(MX).unwrap()).unwrap()
        };
        let (stop, stopped) = watch::channel(false);
        runtime().spawn(keeper.run(stopped));
        Kept { tls, renewals, stop, config }
    }

    /// What the owner is told when he asks.
    pub fn renew(&self) -> Outcome {
        runtime().block_on(self.renewals.renew()).unwrap().remove(0)
    }

    /// What `cert status` can tell of the first name.
    pub fn status(&self) -> acme::Kept {
        let table = self.config.tls.acme.as_ref().unwrap();
        acme::kept(&self.config.state_dir, table, &Domain::parse(MX).unwrap()).unwrap().remove(0)
    }

    pub fn fingerprint(&self) -> [u8; 32] {
        self.tls.shown()[0].facts.fingerprint
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
    }
}
