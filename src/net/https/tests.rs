mod requests;

use super::*;
use crate::net::dns::tests::{Authority, a};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

const LIMIT: usize = 1000;
const MINUTE: Duration = Duration::from_secs(60);

/// What a site does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Sends this, and closes in due form.
    Whole(Vec<u8>),
    /// Sends this, and is gone without a word.
    Cut(Vec<u8>),
    /// Sends this, and then more of the same, an octet a second.
    Drip(&'static str),
    /// Keeps the client waiting for another answer.
    Held,
}

/// An HTTPS server on loopback with a certificate of its own authority.
pub(crate) struct Site {
    pub(crate) port: u16,
    /// Knows the authority.
    pub(crate) tls: TlsClient,
    answer: watch::Sender<Answer>,
    requests: watch::Sender<Vec<String>>,
}

/// What is to be wrong with a site's certificate.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Flaw {
    None,
    Expired,
    UnknownAuthority,
}

impl Site {
    pub(crate) async fn start(name: &str, flaw: Flaw) -> Site {
        let (acceptor, tls) = identity(name, flaw);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answer, requests) = (watch::Sender::new(Answer::Held), watch::Sender::new(Vec::new()));
        let site = Site { port, tls, answer: answer.clone(), requests: requests.clone() };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, answer, requests) = (acceptor.clone(), answer.subscribe(), requests.clone());
                tokio::spawn(async move {
                    // A client that does not like what it sees ends it here.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let _ = serve(stream, answer, requests).await;
                });
            }
        });
        site
    }

    pub(crate) fn answer(&self, answer: Answer) {
        self.answer.send_replace(answer);
    }

    /// A whole answer: what stands in it is written with plain line ends.
    pub(crate) fn say(&self, head: &str, body: &str) {
        self.answer(Answer::Whole(response(head, body)));
    }

    /// What was asked for.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.borrow().clone()
    }

    /// Waits until so many requests have come.
    pub(crate) async fn reached(&self, count: usize) {
        self.requests.subscribe().wait_for(|requests| requests.len() >= count).await.unwrap();
    }
}

pub(crate) fn response(head: &str, body: &str) -> Vec<u8> {
    format!("{}\r\n\r\n{body}", head.replace('\n', "\r\n")).into_bytes()
}

fn identity(name: &str, flaw: Flaw) -> (TlsAcceptor, TlsClient) {
    let issuer = |name: &str| {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (known, unknown) = (issuer("known"), issuer("unknown"));
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    if flaw == Flaw::Expired {
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    }
    let key = KeyPair::generate().unwrap();
    let signer = if flaw == Flaw::UnknownAuthority { &unknown } else { &known };
    let own = params.signed_by(&key, signer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap());
    let roots = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(roots.path(), known.pem()).unwrap();
    (TlsAcceptor::from(Arc::new(config.unwrap())), TlsClient::new(Some(roots.path())).unwrap())
}

async fn serve(
    mut stream: tokio_rustls::server::TlsStream<TcpStream>,
    mut answer: watch::Receiver<Answer>,
    requests: watch::Sender<Vec<String>>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    requests.send_modify(|all| all.push(String::from_utf8(request).unwrap()));
    let answer = answer.wait_for(|answer| !matches!(answer, Answer::Held)).await.unwrap().clone();
    match answer {
        Answer::Whole(octets) => {
            stream.write_all(&octets).await?;
            stream.shutdown().await
        }
        Answer::Cut(octets) => {
            stream.write_all(&octets).await?;
            stream.flush().await
        }
        Answer::Drip(head) => {
            stream.write_all(&response(head, "")).await?;
            loop {
                stream.write_all(b"x").await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        Answer::Held => Ok(()),
    }
}

fn client(authority: &Authority, site: &Site) -> Https {
    let (dns, tls) = (authority.dns.clone(), site.tls.clone());
    Https { dns, tls, port: site.port, source: Vec::new(), allow_private: true }
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

async fn town() -> (Authority, Site, Https) {
    let authority = Authority::start(&[("www.test.", a("127.0.0.1"))]).await;
    let site = Site::start("www.test", Flaw::None).await;
    let https = client(&authority, &site);
    (authority, site, https)
}

async fn get(https: &Https) -> Result<(String, String), String> {
    get_within(https, MINUTE).await
}

async fn get_within(https: &Https, patience: Duration) -> Result<(String, String), String> {
    let document = https
        .get(&domain("www.test"), "/a/b.txt", LIMIT, patience)
        .await
        .map_err(|error| error.to_string())?;
    Ok((document.media_type, String::from_utf8(document.body.to_vec()).unwrap()))
}

fn text(body: &str) -> Result<(String, String), String> {
    Ok(("text/plain".into(), body.into()))
}

#[tokio::test]
async fn a_document_comes_however_its_length_is_told() {
    let (_authority, site, https) = town().await;
    let rows = [
        ("HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 5", "hello"),
        ("HTTP/1.1 200\ncontent-type: Text/PLAIN ; charset=utf-8\nContent-Length: 5", "hello"),
        (
            "HTTP/1.1 200 OK\nContent-Type: text/plain\nTransfer-Encoding: chunked",
            "2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
        ),
        ("HTTP/1.1 200 OK\nContent-Type: text/plain\nConnection: close", "hello"),
        ("HTTP/1.0 200 OK\nContent-Type: text/plain", "hello"),
        ("HTTP/1.1 103 Early Hints\n\nHTTP/1.1 200 OK\nContent-Type: text/plain", "hello"),
    ];
    for (head, body) in rows {
        site.say(head, body);
        assert_eq!(get(&https).await, text("hello"), "{head}");
    }
    site.say("HTTP/1.1 200 OK", "hello");
    assert_eq!(get(&https).await, Ok((String::new(), "hello".into())));
    let request = site.requests().remove(0).to_lowercase();
    assert!(request.starts_with("get /a/b.txt http/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("\r\nhost: www.test:{}\r\n", site.port)), "{request}");
}

#[tokio::test]
async fn only_a_200_is_an_answer_and_nobody_is_followed() {
    let (_authority, site, https) = town().await;
    let codes = [201, 204, 206, 300, 301, 302, 303, 304, 307, 308, 401, 404, 429, 500, 503];
    for code in codes {
        let location = format!("https://www.test:{}/c.txt", site.port);
        site.say(&format!("HTTP/1.1 {code} Words\nLocation: {location}\nContent-Type: text/plain"), "hello");
        assert_eq!(get(&https).await, Err(format!("www.test: it answers {code}")));
    }
    assert_eq!(site.requests().len(), codes.len());
}

#[tokio::test]
async fn the_certificate_must_be_right_before_anything_is_asked() {
    let authority = Authority::start(&[("www.test.", a("127.0.0.1"))]).await;
    let rows = [
        ("other.test", Flaw::None, "not for www.test"),
        ("www.test", Flaw::Expired, "expired"),
        ("www.test", Flaw::UnknownAuthority, "unknown authority"),
    ];
    for (name, flaw, why) in rows {
        let site = Site::start(name, flaw).await;
        site.say("HTTP/1.1 200 OK", "hello");
        let error = get(&client(&authority, &site)).await.unwrap_err();
        assert!(error.starts_with("www.test: ") && error.contains(why), "{error}");
        assert!(site.requests().is_empty());
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_none() {
    let (_authority, site, https) = town().await;
    for (length, whole) in [(LIMIT, true), (LIMIT + 1, false), (1 << 20, false)] {
        let body = "x".repeat(length);
        let rows = [
            (format!("HTTP/1.1 200 OK\nContent-Length: {length}"), body.clone()),
            (
                "HTTP/1.1 200 OK\nTransfer-Encoding: chunked".into(),
                format!("{length:x}\r\n{body}\r\n0\r\n\r\n"),
            ),
            ("HTTP/1.1 200 OK".into(), body),
        ];
        for (head, body) in rows {
            site.say(&head, &body);
            match get(&https).await {
                Ok((_, got)) => assert!(whole && got.len() == length, "{head}: {}", got.len()),
                Err(error) => assert!(!whole && error.contains("limit"), "{head}: {error}"),
            }
        }
    }
}

#[tokio::test]
async fn a_header_has_its_bounds_and_must_be_one() {
    let (_authority, site, https) = town().await;
    let many = "x: y\n".repeat(FIELDS + 1);
    let long = format!("x: {}", "y".repeat(HEADER));
    let ill = [
        format!("HTTP/1.1 200 OK\n{}", many.trim_end()),
        format!("HTTP/1.1 200 OK\n{long}"),
        "HTTP/1.1 200 OK\nno field".into(),
        "HTTP/2 200".into(),
        "220 mx.test ESMTP".into(),
    ];
    for head in ill {
        site.say(&head, "hello");
        assert!(get(&https).await.is_err(), "{head}");
    }
    site.say(
        &format!("HTTP/1.1 200 OK\nContent-Type: text/plain\n{}", "x: y\n".repeat(50).trim_end()),
        "hello",
    );
    assert_eq!(get(&https).await, text("hello"));
}

#[tokio::test]
async fn what_is_cut_off_is_not_taken_for_the_whole() {
    let (_authority, site, https) = town().await;
    let rows = [
        ("HTTP/1.1 200 OK\nContent-Length: 9", "hello"),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", "5\r\nhello\r\n"),
    ];
    for (head, body) in rows {
        site.say(head, body);
        assert!(get(&https).await.is_err(), "{head}");
    }
    // Where only the end of the stream tells the length, TLS must vouch for the end.
    let head = "HTTP/1.1 200 OK\nContent-Type: text/plain";
    site.answer(Answer::Cut(response(head, "hello")));
    assert!(get(&https).await.is_err());
    site.answer(Answer::Whole(response(head, "hello")));
    assert_eq!(get(&https).await, text("hello"));
}

#[tokio::test]
async fn patience_has_an_end_whether_nothing_comes_or_ever_more() {
    let (_authority, site, https) = town().await;
    for answer in [Answer::Held, Answer::Drip("HTTP/1.1 200 OK\nContent-Length: 500")] {
        site.answer(answer);
        let error = get_within(&https, Duration::from_secs(1)).await.unwrap_err();
        assert!(error.contains("within 1"), "{error}");
    }
}

#[tokio::test]
async fn addresses_are_tried_in_turn_and_must_be_public() {
    let authority = Authority::start(&[
        ("www.test.", a("127.0.0.1")),
        ("www.test.", a("127.0.0.9")),
        ("text.test.", crate::net::dns::tests::mx(1, "www.test.")),
    ])
    .await;
    let site = Site::start("www.test", Flaw::None).await;
    site.say("HTTP/1.1 200 OK\nContent-Type: text/plain", "hello");
    let https = client(&authority, &site);
    assert_eq!(get(&https).await, text("hello"), "one of two is dead");

    let error = https.get(&domain("text.test"), "/", LIMIT, MINUTE).await.unwrap_err();
    assert_eq!(error.to_string(), "text.test: it has no address");
    let error = https.get(&domain("www.example"), "/", LIMIT, MINUTE).await.unwrap_err();
    assert!(error.to_string().starts_with("DNS: "), "{error}");

    let strict = Https { allow_private: false, ..https };
    let error = get(&strict).await.unwrap_err();
    assert!(error.ends_with("not a public address of another host"), "{error}");
    assert_eq!(site.requests().len(), 1);
}
