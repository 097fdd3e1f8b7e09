//! The sockets: bound first (they may need root), or inherited; served later.

use crate::config;
use crate::error::{Exit, Failure};
use crate::smtp::Door;
use crate::system::inherited::Inherited;
use crate::system::sockets::{self, BACKLOG};
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;

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
    /// All of them.
    const ALL: [Entrance; 3] = [Entrance::Mx, Entrance::Submission, Entrance::Submissions];

    /// The door that it leads to.
    pub fn door(self) -> Door {
        match self {
            Entrance::Mx => Door::Mx,
            Entrance::Submission | Entrance::Submissions => Door::Submission,
        }
    }

    /// The key of its addresses in `[listen]`, and the name of a socket that is inherited for it.
    pub fn name(self) -> &'static str {
        match self {
            Entrance::Mx => "mx",
            Entrance::Submission => "submission",
            Entrance::Submissions => "submissions",
        }
    }

    /// The port that it has in the world.
    fn port(self) -> u16 {
        match self {
            Entrance::Mx => 25,
            Entrance::Submission => 587,
            Entrance::Submissions => 465,
        }
    }

    /// Its configured addresses.
    fn addresses(self, listen: &config::Listen) -> &[SocketAddr] {
        match self {
            Entrance::Mx => &listen.mx,
            Entrance::Submission => &listen.submission,
            Entrance::Submissions => &listen.submissions,
        }
    }
}

/// Bound sockets, each with its entrance.
#[derive(Debug)]
pub struct Listeners {
    pub tcp: Vec<(Entrance, TcpListener)>,
}

impl Listeners {
    /// Takes what was inherited, and binds the configured addresses of the entrances for which nothing was.
    pub fn open(inherited: Vec<Inherited>, listen: &config::Listen) -> Result<Listeners, Failure> {
        if let Some(address) = listen.submission.iter().find(|address| !address.ip().is_loopback()) {
            return Err(submission_elsewhere(&format!("listen.submission {address}")));
        }
        let mut tcp = Vec::new();
        for one in inherited {
            tcp.push((entrance_of(&one, listen)?, one.listener));
        }
        let given: Vec<Entrance> = tcp.iter().map(|(entrance, _)| *entrance).collect();
        for entrance in Entrance::ALL.into_iter().filter(|entrance| !given.contains(entrance)) {
            for address in entrance.addresses(listen) {
                let listener =
                    sockets::listen(*address).map_err(|error| bind_failure(entrance, *address, &error))?;
                tcp.push((entrance, listener));
            }
        }
        Ok(Listeners { tcp })
    }
}

/// Which entrance a socket is meant for: by its name, by an address that the configuration gives an entrance, by its port. The owner's
/// door is opened on loopback only, whoever has bound it.
fn entrance_of(inherited: &Inherited, listen: &config::Listen) -> Result<Entrance, Failure> {
    let Inherited { name, listener } = inherited;
    let address = listener.local_addr().map_err(|error| {
        Failure::new(Exit::OsErr, format!("the inherited socket {name:?} has no address: {error}"))
    })?;
    let named = Entrance::ALL.into_iter().find(|entrance| entrance.name() == name);
    let listed = || Entrance::ALL.into_iter().find(|entrance| entrance.addresses(listen).contains(&address));
    let usual = || Entrance::ALL.into_iter().find(|entrance| entrance.port() == address.port());
    let entrance = named.or_else(listed).or_else(usual).ok_or_else(|| {
        let text = format!(
            "the inherited socket {name:?} at {address}: it does not say which door it is; name it mx, submission or \
             submissions (FileDescriptorName= in its unit), or write {address} in listen.mx, listen.submission or \
             listen.submissions of server.toml"
        );
        Failure::new(Exit::Config, text)
    })?;
    // The unspecified address is none of loopback's, of one family or of both.
    if entrance == Entrance::Submission && !address.ip().to_canonical().is_loopback() {
        return Err(submission_elsewhere(&format!("the inherited socket {name:?} at {address}")));
    }
    Ok(entrance)
}

fn submission_elsewhere(what: &str) -> Failure {
    let text =
        "the submission door listens on loopback only; the owner comes in by ssh, or by listen.submissions";
    Failure::new(Exit::Config, format!("{what}: {text}"))
}

fn bind_failure(entrance: Entrance, address: SocketAddr, error: &io::Error) -> Failure {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there; see `ss -ltnp`",
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need root (with `user` set), AmbientCapabilities=CAP_NET_BIND_SERVICE, or a socket of systemd's"
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address; see `ip address`",
        _ => "see `listen` in server.toml",
    };
    let name = entrance.name();
    Failure::new(Exit::OsErr, format!("listen.{name} {address}: {error}; {remedy}"))
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

    fn inherited(name: &str, address: &str) -> Inherited {
        Inherited { name: name.into(), listener: TcpListener::bind(address).unwrap() }
    }

    #[test]
    fn a_socket_says_which_door_it_is() {
        let listen = config::Listen::default();
        let of = |name: &str, address: &str| entrance_of(&inherited(name, address), &listen);
        assert_eq!(of("mx", "0.0.0.0:0").unwrap(), Entrance::Mx);
        assert_eq!(of("submission", "127.0.0.1:0").unwrap(), Entrance::Submission);
        assert_eq!(of("submission", "[::1]:0").unwrap(), Entrance::Submission);
        assert_eq!(of("submissions", "0.0.0.0:0").unwrap(), Entrance::Submissions);
        let nameless = of("pillarbox.socket", "127.0.0.1:0").unwrap_err();
        assert!(
            nameless.exit == Exit::Config && nameless.message.contains("FileDescriptorName"),
            "{nameless}"
        );
        let listed = inherited("unknown", "127.0.0.1:0");
        let address = listed.listener.local_addr().unwrap();
        let by_address = config::Listen { submissions: vec![address], ..config::Listen::default() };
        assert_eq!(entrance_of(&listed, &by_address).unwrap(), Entrance::Submissions);
    }

    #[test]
    fn the_owners_door_is_on_loopback_whoever_opens_it() {
        for address in ["0.0.0.0:0", "[::]:0"] {
            let refused = entrance_of(&inherited("submission", address), &config::Listen::default());
            let refused = refused.unwrap_err();
            assert!(refused.exit == Exit::Config && refused.message.contains("loopback only"), "{refused}");
        }
    }

    #[test]
    fn what_is_inherited_takes_the_place_of_what_is_configured() {
        let any = |port| vec![SocketAddr::from(([127, 0, 0, 1], port))];
        // Port 1 is nobody's to bind: it would be an error or a listener too many.
        let listen = config::Listen { mx: any(1), submission: any(0), submissions: Vec::new() };
        let opened = Listeners::open(vec![inherited("mx", "127.0.0.1:0")], &listen).unwrap();
        let entrances: Vec<Entrance> = opened.tcp.iter().map(|(entrance, _)| *entrance).collect();
        assert_eq!(entrances, [Entrance::Mx, Entrance::Submission]);
        assert_ne!(opened.tcp[0].1.local_addr().unwrap().port(), 1);
    }

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
