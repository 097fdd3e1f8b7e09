//! The protocol (RFC 5321), sans-IO: commands, replies, data, the server's session, the client's session. Pure.

pub mod client;
pub mod command;
pub mod data;
pub mod reply;
pub mod server;
pub mod xtext;

/// Which door a connection came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    /// Port 25: strangers bring letters for us.
    Mx,
    /// The owner's own door.
    Submission,
}
