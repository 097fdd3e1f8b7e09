//! The network: names, streams, child processes as streams, and the driver of the client's session.

pub mod dial;
pub mod dns;
pub mod export;
pub mod https;
pub mod preface;
pub mod public;
pub mod session;
pub mod tls;
pub mod transport;
pub mod waiting;
