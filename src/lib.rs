//! pillarbox: a personal mail system in one program.
//!
//! The modules are floors of a house, in reading order; each imports only those that stand before it in this list
//! (`tests/layering.rs` holds that). The blank lines keep the order.

#![warn(clippy::unwrap_used, clippy::expect_used)]

pub mod error;

pub mod config;

pub mod mail;

pub mod smtp;

pub mod policy;

pub mod store;

pub mod queue;

pub mod net;

pub mod trust;

pub mod system;

pub mod certs;

pub mod relay;

pub mod server;

pub mod home;

pub mod gate;

pub mod ops;
