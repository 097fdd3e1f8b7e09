//! TCP connections to strangers' servers: from the address that is configured, and only to where a stranger can be.

use super::public::is_public;
use crate::error::plainly;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};

/// Connects to `peer` within `patience`, with TCP_NODELAY. The connection is made from the address of the same family
/// in `source`, if there is one. Unless `allow_private`, the peer must be public and must not be this host. An error is
/// a phrase that says why there is no connection.
pub async fn dial(
    peer: SocketAddr,
    source: &[IpAddr],
    allow_private: bool,
    patience: Duration,
) -> Result<TcpStream, String> {
    if !allow_private && (!is_public(peer.ip()) || is_ours(peer.ip())) {
        return Err("not a public address of another host".into());
    }
    match tokio::time::timeout(patience, connect(peer, source)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(format!("no connection: {}", plainly(&error))),
        Err(_) => Err(format!("no connection within {} seconds", patience.as_secs())),
    }
}

/// Whether connections can be made from an address now; an error names the key and the remedy.
pub fn check_source(from: IpAddr) -> io::Result<()> {
    UdpSocket::bind((from, 0)).map(|_| ()).map_err(|error| not_ours(from, &error))
}

fn not_ours(from: IpAddr, error: &io::Error) -> io::Error {
    let remedy = "name one that `ip address` shows, or give it to the host";
    io::Error::new(
        error.kind(),
        format!("relay.source: {from} is no address of this host ({error}); {remedy}"),
    )
}

async fn connect(peer: SocketAddr, source: &[IpAddr]) -> io::Result<TcpStream> {
    let socket = if peer.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(&from) = source.iter().find(|from| from.is_ipv4() == peer.is_ipv4()) {
        socket.bind(SocketAddr::new(from, 0)).map_err(|error| not_ours(from, &error))?;
    }
    let stream = socket.connect(peer).await?;
    // Nagle and delayed acknowledgements cost 40 ms a letter.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Whether an address is this host's own: the way to such a one, and to no other, begins at the address itself. Asks
/// the routing table; nothing is sent. A connection's own two ends would not tell where `source` names another address.
fn is_ours(ip: IpAddr) -> bool {
    let anywhere: IpAddr =
        if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let begins = || -> io::Result<IpAddr> {
        let socket = UdpSocket::bind((anywhere, 0))?;
        // The port does not matter: nothing is sent to it.
        socket.connect((ip, 9))?;
        Ok(socket.local_addr()?.ip())
    };
    // Where there is no way at all, connecting says so better.
    begins().is_ok_and(|begin| begin == ip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const PATIENCE: Duration = Duration::from_secs(10);

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn the_source_of_the_family_is_where_a_connection_comes_from() {
        let (listener, address) = listener().await;
        let source = ["::1".parse().unwrap(), "127.0.0.9".parse().unwrap()];
        let stream = dial(address, &source, true, PATIENCE).await.unwrap();
        assert!(stream.nodelay().unwrap());
        assert_eq!(listener.accept().await.unwrap().1.ip(), source[1]);
        let stream = dial(address, &source[..1], true, PATIENCE).await.unwrap();
        assert_eq!(stream.local_addr().unwrap().ip(), address.ip(), "another family's source is none");
    }

    #[tokio::test]
    async fn a_source_that_is_not_ours_is_named() {
        let (_listener, address) = listener().await;
        let error = dial(address, &["192.0.2.1".parse().unwrap()], true, PATIENCE).await.unwrap_err();
        assert!(error.contains("relay.source: 192.0.2.1 is no address of this host"), "{error}");
        assert!(check_source("192.0.2.1".parse().unwrap()).is_err());
        check_source("::1".parse().unwrap()).unwrap();
    }

    #[tokio::test]
    async fn what_is_not_public_is_not_even_knocked_at() {
        let (listener, address) = listener().await;
        let error = dial(address, &[], false, PATIENCE).await.unwrap_err();
        assert_eq!(error, "not a public address of another host");
        listener.into_std().unwrap().accept().map(|_| ()).unwrap_err();
    }

    #[tokio::test]
    async fn a_closed_port_is_a_phrase() {
        let (listener, address) = listener().await;
        drop(listener);
        let error = dial(address, &[], true, PATIENCE).await.unwrap_err();
        assert!(error.starts_with("no connection: "), "{error}");
    }

    #[test]
    fn our_own_addresses_are_known() {
        assert!(is_ours("127.0.0.1".parse().unwrap()));
        assert!(!is_ours("192.0.2.1".parse().unwrap()) && !is_ours("2001:db8::1".parse().unwrap()));
    }
}
