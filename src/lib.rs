//! pillarbox: a personal mail system in one program.
//!
//! The modules are floors of a house, in reading order; each imports only those above it in this list
//! (`tests/layering.rs` holds that).

pub mod config;
pub mod error;
pub mod gate;
pub mod home;
pub mod mail;
pub mod net;
pub mod ops;
pub mod policy;
pub mod queue;
pub mod relay;
pub mod server;
pub mod smtp;
pub mod store;
pub mod system;
pub mod trust;
