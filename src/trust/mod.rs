//! DKIM: keys, signing, sealing, verifying; and what DMARC asks DNS. The one wrapper around the mail-auth crate.
//!
//! At home: [`keys`], [`sign`], [`seal`]. On the server: [`submission`] and [`inbound`] gather the evidence that
//! `policy` decides on; both stand on [`inspect`].

pub mod canon;
pub mod dmarc;
#[cfg(test)]
mod forge;
pub mod inbound;
pub mod inspect;
pub mod keys;
pub mod record;
pub mod seal;
pub mod sign;
pub mod signature;
pub mod submission;
pub mod tags;
