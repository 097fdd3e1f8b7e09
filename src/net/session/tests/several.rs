//! One letter after another over one connection.

use super::*;
use crate::net::tls::tests::pki::Pki;
use rcgen::PKCS_ECDSA_P256_SHA256;
use tokio::net::TcpListener;

#[tokio::test]
async fn letters_go_one_after_another_over_one_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let server = tokio::spawn(serve(listener.accept().await.unwrap().0));
    let mut session = Session::open_clear(stream, "home.example", Duration::MAX).await.unwrap();
    assert_eq!(session.protection(), &Protection::Clear("not asked for".into()));
    assert!(session.is_open() && session.offers_dsn());
    let outcome = session.send(request(&["a@b.example"], 3), &b"1\r\n"[..]).await;
    assert!(matches!(outcome.fates[..], [Fate::Accepted(_)]));
    let outcome = session.send(request(&["nobody@b.example"], 3), &b"2\r\n"[..]).await;
    assert!(matches!(outcome.fates[..], [Fate::Refused(_)]));
    let outcome = session.send(request(&["a@b.example", "c@b.example"], 3), &b"3\r\n"[..]).await;
    assert!(matches!(outcome.fates[..], [Fate::Accepted(_), Fate::Accepted(_)]));
    assert!(session.is_open());
    session.quit().await;
    assert_eq!(server.await.unwrap(), [b"1\r\n", b"3\r\n"]);
}

/// Ends when the session notices that it is over; it must, by what is there to be read.
async fn notices(session: &mut Session<impl AsyncRead + AsyncWrite + Unpin>) {
    while session.is_open() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_server_that_hung_up_meanwhile_is_noticed_before_the_next_letter() {
    for last in ["", "421 4.4.2 idle for too long\r\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let script = [("", "220 mx\r\n"), ("EHLO", "250 mx\r\n")];
        let (session, (mut server, _)) = tokio::join!(
            Session::open_clear(stream, "home.example", Duration::MAX),
            scripted_on(server, &script)
        );
        let mut session = session.unwrap();
        assert!(session.is_open());
        server.write_all(last.as_bytes()).await.unwrap();
        drop(server);
        notices(&mut session).await;
        let outcome = session.send(request(&["a@b.example"], 3), &b"x\r\n"[..]).await;
        assert_eq!(deferred(&outcome.fates[0]), "the session with the server was over");
        assert!(!outcome.dot_sent);
    }
}

#[tokio::test]
async fn what_a_server_said_before_it_was_asked_is_no_answer() {
    for early in ["250 2.0.0 ok\r\n", "554 5.4.0 idle for too long\r\n", "421 4.4.2 idle for too long\r\n"] {
        let (near, far) = duplex(4096);
        let script = [("", "220 mx\r\n"), ("EHLO", "250-mx\r\n250 PIPELINING\r\n")];
        let opening = Session::open_clear(near, "home.example", PATIENCE);
        let (session, (mut server, _)) = tokio::join!(opening, scripted_on(far, &script));
        // It comes between the last look at the connection and the next letter.
        server.write_all(early.as_bytes()).await.unwrap();
        let outcome = session.unwrap().send(request(&["a@b.example"], 3), &b"x\r\n"[..]).await;
        let why = deferred(&outcome.fates[0]);
        assert!(why.contains("before it was asked") && why.contains(early.trim_end()), "{why}");
        assert!(!outcome.dot_sent);
    }
}

#[tokio::test]
async fn a_server_that_ends_tls_meanwhile_is_noticed_too() {
    let pki = Pki::new(&PKCS_ECDSA_P256_SHA256);
    let (near, far) = duplex(1 << 16);
    let acceptor = pki.host(&["mx.example"]).acceptor();
    let server = async {
        let (stream, _) =
            scripted_on(acceptor.accept(far).await.unwrap(), &[("", "220 mx\r\n"), ("EHLO", "250 mx\r\n")])
                .await;
        stream
    };
    let tls = pki.client();
    let opening = tls::opening(&tls, &Demand::Verified, true);
    let (session, mut server) = tokio::join!(Session::open(near, opening), server);
    let mut session = session.unwrap();
    // The tickets of TLS 1.3 are there to be read by now, and are nothing that the server said.
    assert!(session.is_open());
    server.shutdown().await.unwrap();
    notices(&mut session).await;
}

#[tokio::test]
async fn a_connection_that_is_over_is_closed_on_our_side() {
    let script = [
        ("", "220 mx.example\r\n"),
        ("EHLO", "250-mx\r\n250 PIPELINING\r\n"),
        ("DATA", "250 a\r\n250 b\r\n421 bye\r\n"),
    ];
    let (near, far) = duplex(1 << 16);
    let client = async {
        let mut session = Session::open_clear(near, "home.example", Duration::MAX).await.unwrap();
        let outcome = session.send(request(&["a@b.example"], 3), &b"x\r\n"[..]).await;
        (session, outcome)
    };
    let ((mut session, outcome), (mut server, _)) = tokio::join!(client, scripted_on(far, &script));
    assert_eq!(deferred(&outcome.fates[0]), "mx.example answered DATA: 421 bye");
    assert!(!session.is_open());
    // The session is still held; the server reads the end.
    assert_eq!(server.read(&mut [0; 16]).await.unwrap(), 0);
}
