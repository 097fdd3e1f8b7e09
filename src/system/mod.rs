//! What belongs to the process and not to mail: the log.

pub mod log;
