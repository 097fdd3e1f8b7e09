//! Listeners that whoever started us has bound for us (sd_listen_fds(3)): systemd's socket activation.

use crate::error::{Exit, Failure};
use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use std::net::TcpListener;

/// A listener, and what its unit calls it (`FileDescriptorName=`; by default the unit's own name).
#[derive(Debug)]
pub struct Inherited {
    /// The name; empty where there is none.
    pub name: String,
    /// The listener, which does not block, and which no program that we start inherits.
    pub listener: TcpListener,
}

/// Takes them over; a second call finds none. To be called before anything is started that could inherit them. What is there and
/// is no TCP listener is an error: whoever passes it on expects something of it that would not come.
pub fn take() -> Result<Vec<Inherited>, Failure> {
    // The crate takes the other variables away, not this one. What the server starts gets an environment of its own.
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(str::to_owned);
    let mut sockets = ListenFd::from_env();
    let mut found = Vec::new();
    for index in 0..sockets.len() {
        let name = names.next().unwrap_or_default();
        let wrong = |why: &str| {
            let text = format!(
                "socket {index} ({name:?}) of those that this program was started with: {why}; pillarbox takes \
                 listening TCP sockets (systemd: ListenStream=ADDRESS:PORT, Accept=no)"
            );
            Failure::new(Exit::Config, text)
        };
        let taken = sockets.take_tcp_listener(index).map_err(|error| wrong(&error.to_string()))?;
        let listener = taken.ok_or_else(|| wrong("it is gone"))?;
        match socket_acceptconn(&listener) {
            Ok(true) => {}
            Ok(false) => return Err(wrong("it does not listen")),
            Err(errno) => return Err(wrong(&errno.to_string())),
        }
        listener.set_nonblocking(true).map_err(|error| wrong(&error.to_string()))?;
        found.push(Inherited { name, listener });
    }
    Ok(found)
}
