//! The answers to an authority's questions (HTTP-01, RFC 8555 section 8.3), while an order runs and no longer.

use crate::system::sockets::listen;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// Where the answers are.
const PLACE: &str = "/.well-known/acme-challenge/";
/// Connections at once to one of our addresses. An authority comes with a handful, each of which asks as soon as it is there. So
/// one more takes the place of the oldest: strangers who sit there must not be able to keep it out.
const CONNECTIONS: usize = 128;
/// Those of one address (IPv6: of one /64), which by coming again and again puts nobody out but itself.
const EACH: usize = 8;
/// How long one connection may last.
const PATIENCE: Duration = Duration::from_secs(5);
/// Octets of a request's header; hyper wants no less.
const HEADER: usize = 8 << 10;

/// Answers as long as it lives; nothing listens any more when it is dropped.
pub struct Responder {
    said: Arc<RwLock<Vec<(String, String)>>>,
    /// Faults, for the addresses that others have.
    rivals: Vec<String>,
    _tasks: JoinSet<()>,
}

impl Responder {
    /// Listens at those of `addresses` that can be had, if any can. IPv6 sockets take IPv6 only, so that `0.0.0.0` and `::`
    /// stand side by side. An error names the addresses and the remedy.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Responder, String> {
        let (mut tasks, said) = (JoinSet::new(), Arc::default());
        let (mut faults, mut rivals) = (Vec::new(), Vec::new());
        for &address in addresses {
            match listen(address).and_then(TcpListener::from_std) {
                Ok(listener) => {
                    tasks.spawn(serve(listener, Arc::clone(&said)));
                }
                Err(error) => {
                    let fault = explain(address, &error);
                    if error.kind() == io::ErrorKind::AddrInUse {
                        rivals.push(fault.clone());
                    }
                    faults.push(fault);
                }
            }
        }
        if tasks.is_empty() {
            return Err(faults.join("; "));
        }
        for fault in faults {
            tracing::debug!(fault, "the authority's questions are answered elsewhere only");
        }
        Ok(Responder { said, rivals, _tasks: tasks })
    }

    /// What another program has of our addresses: it may be the one that the authority asks.
    pub fn rival(&self) -> Option<&str> {
        self.rivals.first().map(String::as_str)
    }

    /// Answers questions for `token` with `answer` from now on.
    pub fn say(&self, token: &str, answer: &str) {
        let mut said = self.said.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        said.push((token.to_owned(), answer.to_owned()));
    }
}

fn explain(address: SocketAddr, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there (`ss -ltnp` shows it): stop it, or let it hand /.well-known/acme-challenge/ \
             on to an address that you set as tls.acme.listen"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need root (with `user` set) or AmbientCapabilities=CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address; see `ip address`",
        _ => "see tls.acme.listen",
    };
    format!("tls.acme.listen {address}: {}; {remedy}", crate::error::plainly(error))
}

async fn serve(listener: TcpListener, said: Arc<RwLock<Vec<(String, String)>>>) {
    let (mut connections, mut here) = (JoinSet::new(), VecDeque::new());
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (said, network) = (Arc::clone(&said), network(peer.ip()));
                make_room(&mut here, network);
                let task = connections.spawn(async move {
                    let _ = tokio::time::timeout(PATIENCE, converse(stream, said)).await;
                });
                here.push_back((network, task));
            }
            // Out of files, perhaps: a loop that spins helps nobody.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Ends a connection where there is no place for one more from `network`. The oldest come first.
fn make_room(here: &mut VecDeque<(IpAddr, AbortHandle)>, network: IpAddr) {
    here.retain(|(_, task)| !task.is_finished());
    let theirs = |(from, _): &(IpAddr, AbortHandle)| *from == network;
    let oldest = match here.iter().filter(|one| theirs(one)).count() {
        EACH.. => here.iter().position(theirs),
        _ => (here.len() >= CONNECTIONS).then_some(0),
    };
    if let Some((_, task)) = oldest.and_then(|oldest| here.remove(oldest)) {
        task.abort();
    }
}

fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

async fn converse(stream: TcpStream, said: Arc<RwLock<Vec<(String, String)>>>) {
    let answer = |request: Request<Incoming>| {
        let answer = answer(request.method(), request.uri(), &said);
        async move { Ok::<_, Infallible>(answer) }
    };
    let connection = http1::Builder::new()
        .keep_alive(false)
        .half_close(true)
        .max_buf_size(HEADER)
        // The whole connection has its time.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    // Whoever breaks off has no answer.
    let _ = connection.await;
}

fn answer(method: &Method, uri: &hyper::Uri, said: &RwLock<Vec<(String, String)>>) -> Response<Full<Bytes>> {
    let asked = uri.path_and_query().map_or("", |path| path.as_str()).strip_prefix(PLACE);
    let said = said.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let found = asked.and_then(|token| said.iter().find(|(said, _)| said == token));
    let (status, text) = match found {
        Some((_, answer)) if *method == Method::GET => (StatusCode::OK, answer.clone()),
        _ => (StatusCode::NOT_FOUND, String::new()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/octet-stream"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn free() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    async fn ask(to: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        text
    }

    fn get(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: mx.here.example\r\n\r\n")
    }

    #[tokio::test]
    async fn only_the_token_is_answered_and_nothing_when_it_is_over() {
        let address = free();
        let responder = Responder::bind(&[address]).unwrap();
        responder.say("token-1", "token-1.print");
        let right = ask(address, &get("/.well-known/acme-challenge/token-1")).await;
        assert!(right.starts_with("HTTP/1.1 200 ") && right.ends_with("\r\n\r\ntoken-1.print"), "{right}");
        for path in ["/", "/.well-known/acme-challenge/", "/.well-known/acme-challenge/token-1?x", "/x/../y"]
        {
            let wrong = ask(address, &get(path)).await;
            assert!(wrong.starts_with("HTTP/1.1 404 ") && wrong.ends_with("\r\n\r\n"), "{path}: {wrong}");
        }
        let long = ask(address, &get(&format!("/{}", "x".repeat(2 * HEADER)))).await;
        assert!(!long.starts_with("HTTP/1.1 200 "), "{long}");
        assert!(!ask(address, "EHLO here\r\n\r\n").await.contains("200"));
        drop(responder);
        // The tasks end when they are next looked at.
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn one_address_that_cannot_be_had_does_not_matter_and_all_do() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = taken.local_addr().map(|address| (taken, address)).unwrap();
        let elsewhere = "192.0.2.1:80".parse().unwrap();
        let responder = Responder::bind(&[taken.1, elsewhere, free()]);
        assert!(responder.is_ok());
        let fault = Responder::bind(&[taken.1, elsewhere]).err().unwrap();
        assert!(
            fault.contains("another program listens there") && fault.contains("no such address"),
            "{fault}"
        );
    }

    async fn come(from: u8, to: SocketAddr) -> TcpStream {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, from], 0))).unwrap();
        socket.connect(to).await.unwrap()
    }

    #[tokio::test]
    async fn those_who_sit_there_do_not_keep_others_out() {
        let address = free();
        let responder = Responder::bind(&[address]).unwrap();
        responder.say("t", "t.p");
        let mut silent = Vec::new();
        for nth in 0..CONNECTIONS + EACH {
            silent.push(come(u8::try_from(2 + nth / EACH).unwrap(), address).await);
        }
        let asked = get("/.well-known/acme-challenge/t");
        let right =
            tokio::time::timeout(PATIENCE / 2, ask(address, &asked)).await.expect("an answer at once");
        assert!(right.ends_with("t.p"), "{right}");
    }

    #[tokio::test]
    async fn one_who_comes_again_and_again_puts_out_himself_only() {
        let address = free();
        let responder = Responder::bind(&[address]).unwrap();
        responder.say("t", "t.p");
        let (asked, mut text) = (get("/.well-known/acme-challenge/t"), String::new());
        let (begin, rest) = asked.split_at(20);
        let mut slow = come(2, address).await;
        slow.write_all(begin.as_bytes()).await.unwrap();
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS + EACH {
            silent.push(come(3, address).await);
        }
        let mut first = silent.swap_remove(0);
        assert_eq!(first.read(&mut [0]).await.unwrap_or(0), 0, "he is put out");
        slow.write_all(rest.as_bytes()).await.unwrap();
        slow.read_to_string(&mut text).await.unwrap();
        assert!(text.ends_with("t.p"), "{text}");
        let one = "2001:db8::1:0:0:0:1".parse().unwrap();
        assert_eq!(network(one), network("2001:db8::1:ffff:0:0:2".parse().unwrap()));
        assert_ne!(network(one), network("2001:db8:1::1".parse().unwrap()));
    }
}
