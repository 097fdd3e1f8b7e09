//! Decisions, each a pure function from evidence to a verdict.

pub mod cases;
pub mod dmarc;
pub mod filter;
pub mod inbound;
pub mod peer;
pub mod renewal;
pub mod results;
pub mod retry;
pub mod signature;
pub mod spf;
pub mod sts;
pub mod submission;
pub mod tls;
pub mod x509;
