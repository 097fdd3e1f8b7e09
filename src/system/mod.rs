//! What the operating system is asked for once: who we are, where the log goes.

pub mod log;
pub mod user;
