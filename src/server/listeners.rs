//! The sockets: bound first (they may need root), served later.

use crate::config;
use crate::error::{Exit, Failure};
use crate::smtp::Door;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Strangers come in bursts; a short queue costs them seconds.
const BACKLOG: i32 = 1024;

/// Where a TCP connection comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// Port 25.
    Mx,
    /// Port 587 on loopback.
    Submission,
    /// Port 465: the owner's door to the world, under TLS from the first octet (RFC 8314 section 3.3).
    Submissions,
}

impl Entrance {
    /// The door that it leads to.
    pub fn door(self) -> Door {
        match self {
            Entrance::Mx => Door::Mx,
            Entrance::Submission | Entrance::Submissions => Door::Submission,
        }
    }

    /// The key of its addresses in server.toml.
    pub fn key(self) -> &'static str {
        match self {
            Entrance::Mx => "listen.mx",
            Entrance::Submission => "listen.submission",
            Entrance::Submissions => "listen.submissions",
        }
    }
}

/// Bound sockets, each with its entrance.
#[derive(Debug)]
pub struct Listeners {
    pub tcp: Vec<(Entrance, TcpListener)>,
}

impl Listeners {
    /// Binds every configured address. IPv6 sockets take IPv6 only, so that `0.0.0.0` and `::` stand side by side.
    pub fn bind(listen: &config::Listen) -> Result<Listeners, Failure> {
        if let Some(address) = listen.submission.iter().find(|address| !address.ip().is_loopback()) {
            let text = "the submission door listens on loopback only; the owner comes in by ssh";
            return Err(Failure::new(Exit::Config, format!("listen.submission {address}: {text}")));
        }
        let entrances = [
            (Entrance::Mx, &listen.mx),
            (Entrance::Submission, &listen.submission),
            (Entrance::Submissions, &listen.submissions),
        ];
        let mut tcp = Vec::new();
        for (entrance, addresses) in entrances {
            for address in addresses {
                let listener =
                    bind_tcp(*address).map_err(|error| bind_failure(entrance, *address, &error))?;
                tcp.push((entrance, listener));
            }
        }
        Ok(Listeners { tcp })
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

fn bind_failure(entrance: Entrance, address: SocketAddr, error: &io::Error) -> Failure {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there; see `ss -ltnp`",
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need root (with `user` set) or AmbientCapabilities=CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address; see `ip address`",
        _ => "see `listen` in server.toml",
    };
    let key = entrance.key();
    Failure::new(Exit::OsErr, format!("{key} {address}: {error}; {remedy}"))
}

/// Binds a socket of `state_dir`, for `gate submit` or for orders: 0600 from the moment in which its name appears, whatever the umask. A
/// socket of an earlier run is replaced (the queue's lock says that it is dead).
pub fn bind_unix(path: &Path) -> Result<UnixListener, Failure> {
    let failure = |error: io::Error| Failure::new(Exit::OsErr, format!("{}: {error}", path.display()));
    let staged = path.with_extension("new");
    match fs::remove_file(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failure(error)),
        _ => {}
    }
    let listener = listen_unix(&staged).map_err(failure)?;
    fs::rename(&staged, path).map_err(failure)?;
    Ok(listener)
}

fn listen_unix(path: &Path) -> io::Result<UnixListener> {
    use rustix::fs::{Mode, fchmod};
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Linux gives the name the mode that the socket has when it is bound (unix(7) knows only the umask).
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_gates_socket_is_private_from_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.sock");
        let _listener = listen_unix(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
        let _again = bind_unix(&path).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
