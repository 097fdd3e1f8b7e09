//! The one privilege that a server may keep when it is no longer root: to bind low ports.

use crate::error::{Exit, Failure};
use nix::unistd::getuid;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities,
    set_keep_capabilities,
};
use std::io;
use std::net::SocketAddr;

/// Keeps the capabilities that systemd's `AmbientCapabilities=` gave us from all that we start. To be called before anything is.
pub fn not_for_children() -> Result<(), Failure> {
    let cleared = clear_ambient_capability_set().and_then(|()| {
        let held = capabilities(None)?;
        set(CapabilitySets { inheritable: CapabilitySet::empty(), ..held })
    });
    cleared.map_err(|errno| failure(errno.into()))
}

/// Becomes whom `change` makes us, and gives up every capability, save that to bind low ports if `low_ports`. Whoever is root afterwards
/// stays as he is. To be called while this process has one thread: those that begin later have no more than it has.
pub fn through(low_ports: bool, change: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let cannot = |errno: rustix::io::Errno| failure(errno.into());
    // Otherwise the change of the user takes all of them.
    set_keep_capabilities(low_ports).map_err(cannot)?;
    change()?;
    set_keep_capabilities(false).map_err(cannot)?;
    if getuid().is_root() {
        return Ok(());
    }
    let wanted = if low_ports { CapabilitySet::NET_BIND_SERVICE } else { CapabilitySet::empty() };
    let kept = capabilities(None).map_err(cannot)?.permitted & wanted;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set(sets).map_err(cannot)
}

/// Whether any of these ports is one that only root binds, or who has the capability.
pub fn are_low(addresses: &[SocketAddr]) -> bool {
    let file = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    let first = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
    let first: u16 = first.unwrap_or(1024);
    // Port 0 is whichever the system likes.
    addresses.iter().any(|address| (1..first).contains(&address.port()))
}

fn set(sets: CapabilitySets) -> rustix::io::Result<()> {
    // Where nothing changes there is nothing that could be forbidden.
    if capabilities(None)? == sets { Ok(()) } else { set_capabilities(None, sets) }
}

fn failure(error: io::Error) -> Failure {
    Failure::new(Exit::OsErr, format!("giving up capabilities: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_port_is_one_that_not_everybody_binds() {
        let low = |ports: &[u16]| {
            let addresses: Vec<SocketAddr> =
                ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect();
            are_low(&addresses)
        };
        assert!(!low(&[]) && !low(&[0, 5002, 65535]));
        // A machine may allow everybody port 80; then nobody needs the capability.
        let start = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
        assert_eq!(low(&[5002, 80]), start.trim().parse::<u16>().unwrap() > 80);
    }
}
