//! `address`: `mkdir` with care.

use crate::config::Server;
use crate::error::{Exit, Failure};

/// `address add`.
pub fn add(config: &Server, address: &str, alias_of: Option<&str>) -> Result<(), Failure> {
    let _ = (config, address, alias_of);
    Err(Failure::new(Exit::Unavailable, "not yet"))
}

/// `address list`.
pub fn list(config: &Server, domain: Option<&str>, json: bool) -> Result<(), Failure> {
    let _ = (config, domain, json);
    Err(Failure::new(Exit::Unavailable, "not yet"))
}

/// `address remove`.
pub fn remove(config: &Server, address: &str) -> Result<(), Failure> {
    let _ = (config, address);
    Err(Failure::new(Exit::Unavailable, "not yet"))
}
