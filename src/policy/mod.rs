//! Decisions, each a pure function from evidence to a verdict.

pub mod cases;
pub mod inbound;
pub mod retry;
pub mod submission;
