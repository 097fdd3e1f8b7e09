//! DKIM: keys, signing, sealing, verifying. The one wrapper around the mail-auth crate.

pub mod canon;
pub mod keys;
pub mod seal;
pub mod sign;
pub mod signature;
mod tags;
