//! What the service manager is told (sd_notify(3), `Type=notify`).

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

/// The server is there.
pub const READY: &str = "READY=1";
/// The server ends.
pub const STOPPING: &str = "STOPPING=1";

/// Says so, where anybody wants to know it. Nothing depends on it here; whoever waits for it in vain says so himself.
pub fn tell(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(state, socket.as_bytes()) {
        tracing::warn!(%error, ?socket, "telling the service manager {state}");
    }
}

fn send(state: &str, to: &[u8]) -> io::Result<()> {
    let address = match to {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(Path::new(std::ffi::OsStr::from_bytes(path)))?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not hold us up.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_names_are_reached() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("pillarbox-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        let sockets = [UnixDatagram::bind(&path).unwrap(), UnixDatagram::bind_addr(&abstract_name).unwrap()];
        let told = [path.to_str().unwrap().to_owned(), format!("@{name}")];
        for (socket, to) in sockets.iter().zip(told) {
            send(READY, to.as_bytes()).unwrap();
            let mut said = [0; 64];
            let octets = socket.recv(&mut said).unwrap();
            assert_eq!(&said[..octets], b"READY=1");
        }
        assert!(send(READY, b"/nowhere/notify").is_err());
    }
}
