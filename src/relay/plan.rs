//! The way to a destination: which hosts, in which order, and how connections to them must be protected.

use super::Parts;
use super::route::{self, Route};
use crate::mail::address::Host;
use crate::mail::dsn::Diagnosis;
use std::sync::Arc;

/// The way to a destination, as DNS, MTA-STS and the configuration say; good for a few minutes.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    key: Arc<str>,
    /// Hosts, the best first.
    pub(super) hosts: Vec<Host>,
}

/// What is known of the way.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// This is it.
    Plan(Arc<Plan>),
    /// There is none, and never will be.
    Never(Diagnosis),
    /// It cannot be said now.
    Later(String),
}

impl Plan {
    /// Destinations with the same key are one: the same hosts under the same demands share connections and back-off.
    pub(super) fn key(&self) -> &Arc<str> {
        &self.key
    }
}

/// Finds the way to a destination.
pub(super) async fn find(parts: &Parts, destination: &Host) -> Found {
    match route::find(&parts.dns, destination, &parts.hostname).await {
        Route::Hosts(hosts) => Found::Plan(Arc::new(Plan { key: destination.to_string().into(), hosts })),
        Route::Never(diagnosis) => Found::Never(diagnosis),
        Route::Later(why) => Found::Later(why),
    }
}
