//! What the operating system is asked for once: who we are, where the log goes, threads, files.

pub mod confine;
pub mod files;
pub mod log;
pub mod threads;
pub mod user;
