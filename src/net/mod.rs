//! The network: names, streams, child processes as streams, and the driver of the client's session.

pub mod dns;
pub mod exchange;
pub mod export;
pub mod preface;
pub mod session;
pub mod tls;
pub mod transport;
pub mod waiting;
