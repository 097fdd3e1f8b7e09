//! What a letter is: addresses, envelope, header fields and the strict splitter; what is written on it and how it is
//! made fit to travel. Pure.

pub mod address;
pub mod complete;
pub mod date;
pub mod dsn;
pub mod encode;
pub mod envelope;
pub mod form;
pub mod header;
pub mod mailboxes;
pub mod trace;
