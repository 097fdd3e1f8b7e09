//! What the operating system is asked for once: who we are and what we may do, sockets that we are given, where the log goes,
//! threads, files.

pub mod capabilities;
pub mod confine;
pub mod files;
pub mod inherited;
pub mod log;
pub mod notify;
pub mod sockets;
pub mod threads;
pub mod user;
