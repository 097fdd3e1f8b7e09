//! DKIM: keys, signing, sealing, verifying; SPF. The one wrapper around the mail-auth crate.
//!
//! At home: [`keys`], [`sign`], [`seal`]. On the server: [`submission`] and [`inbound`] gather the evidence that
//! `policy` decides on; both stand on [`inspect`]. Whether a client may use a
//! name is asked in [`spf`].

pub mod canon;
#[cfg(test)]
mod forge;
pub mod inbound;
pub mod inspect;
pub mod keys;
pub mod record;
pub mod seal;
pub mod sign;
pub mod signature;
pub mod spf;
pub mod submission;
pub mod tags;
