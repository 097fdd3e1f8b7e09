//! MTA-STS (RFC 8461): what a policy file and its TXT record say. Pure.

use crate::mail::address::Domain;
use serde::{Deserialize, Serialize};

/// What a policy asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Hosts and certificates must be right.
    Enforce,
    /// What is not right is only told.
    Testing,
    /// Nothing.
    None,
}

/// A policy (RFC 8461 section 3.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What it asks for.
    pub mode: Mode,
    /// The hosts that it names, `*.` patterns included, in lower case.
    pub mx: Vec<String>,
    /// Seconds that it may be kept.
    pub max_age: u64,
}

impl Policy {
    /// Whether the policy names the host (RFC 8461 section 4.1).
    pub fn names(&self, host: &Domain) -> bool {
        self.mx.iter().any(|pattern| pattern == host.as_str())
    }
}
