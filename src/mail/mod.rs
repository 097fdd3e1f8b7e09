//! What a letter is: addresses, envelope, header fields and the strict splitter. Pure.

pub mod address;
pub mod envelope;
pub mod header;
pub mod mailboxes;
pub mod trace;
