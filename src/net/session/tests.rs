//! The client's session against our own server's session and against scripted servers, in memory.

mod hostile;
mod several;
mod tls;

use super::*;
use crate::mail::address::Address;
use crate::mail::envelope::{Envelope, Recipient, ReversePath, Sender};
use crate::smtp::Door;
use crate::smtp::reply::Reply;
use crate::smtp::server::{self, Session as ServerSession, Settings, Tls};
use std::pin::Pin;
use std::task::Poll;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

fn request(recipients: &[&str], size: usize) -> Request {
    let address = |text: &str| Address::parse(text).unwrap();
    Request {
        envelope: Envelope {
            sender: Sender::new(ReversePath::Address(address("me@here.example"))),
            recipients: recipients.iter().map(|text| Recipient::new(address(text))).collect(),
        },
        size: size as u64,
        eight_bit: false,
        all_or_none: false,
    }
}

/// Opens a session, sends one letter, quits.
async fn exchange<S, M>(
    patience: Duration,
    stream: S,
    request: Request,
    make: impl FnOnce(&str) -> io::Result<M>,
) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin,
    M: AsyncRead + Unpin,
{
    match Session::open_clear(stream, "home.example", patience).await {
        Ok(mut session) => {
            let outcome = session.send_made(request, make).await;
            session.quit().await;
            outcome
        }
        Err(trouble) => Outcome::for_all(request.envelope.recipients.len(), trouble.fate()),
    }
}

/// Serves one connection with the real session; gives the letters that came.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Vec<Vec<u8>> {
    let mut session = ServerSession::new(Settings {
        hostname: "mx.example".into(),
        door: Door::Submission,
        message_size: 10 << 20,
        recipients: 100,
        command_timeout: Duration::from_secs(300),
        tls: Tls::Unavailable,
    });
    let (mut letters, mut letter, mut buffer) = (Vec::new(), Vec::new(), vec![0; 65536]);
    loop {
        let answer = match session.step() {
            server::Step::Read | server::Step::StartTls | server::Step::Close => {
                let closing = matches!(session.step(), server::Step::Close);
                if stream.write_all(&session.take_output()).await.is_err() || closing {
                    return letters;
                }
                match stream.read(&mut buffer).await {
                    Ok(count) if count > 0 => session.feed(&buffer[..count]),
                    _ => return letters,
                }
                continue;
            }
            server::Step::Body(body) => {
                letter.extend_from_slice(body);
                continue;
            }
            server::Step::Reset => {
                letter.clear();
                continue;
            }
            server::Step::Rcpt(recipient) if recipient.address.local() == "nobody" => {
                Reply::new(550, 1, 1, "no such address")
            }
            server::Step::Mail(_) | server::Step::Rcpt(_) => Reply::new(250, 1, 5, "OK"),
            server::Step::Data => Reply::plain(354, "go on"),
            server::Step::EndOfData(_) => {
                letters.push(std::mem::take(&mut letter));
                Reply::new(250, 6, 0, "stored")
            }
        };
        session.answer(answer);
    }
}

async fn against_ours(request: Request, message: &[u8], room: usize) -> (Outcome, Vec<Vec<u8>>) {
    let (mut near, far) = duplex(room);
    let server = tokio::spawn(serve(far));
    let outcome = exchange(Duration::MAX, &mut near, request, |name| {
        assert_eq!(name, "mx.example");
        Ok(message)
    })
    .await;
    drop(near);
    (outcome, server.await.unwrap())
}

/// A server that says `script` in turn, each part after having read something that contains the key. What it heard.
async fn scripted(stream: DuplexStream, script: &[(&str, &str)]) -> String {
    scripted_on(stream, script).await.1
}

/// The same, and the stream.
async fn scripted_on<S>(mut stream: S, script: &[(&str, &str)]) -> (S, String)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut heard = Vec::new();
    let mut from = 0;
    'talk: for (wanted, said) in script {
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&heard[from..]).contains(wanted) {
            match stream.read(&mut buffer).await {
                Ok(count) if count > 0 => heard.extend_from_slice(&buffer[..count]),
                _ => break 'talk,
            }
        }
        from = heard.len();
        if stream.write_all(said.as_bytes()).await.is_err() || stream.flush().await.is_err() {
            break;
        }
    }
    (stream, String::from_utf8(heard).unwrap())
}

async fn against_script(request: Request, message: &[u8], script: &[(&str, &str)]) -> (Outcome, String) {
    let (mut near, far) = duplex(1 << 20);
    let client = async {
        let outcome = exchange(Duration::MAX, &mut near, request, |_| Ok(message)).await;
        drop(near);
        outcome
    };
    tokio::join!(client, scripted(far, script))
}

fn deferred(fate: &Fate) -> &str {
    match fate {
        Fate::Deferred(why) => why,
        other => panic!("not deferred: {other:?}"),
    }
}

#[tokio::test]
async fn a_letter_arrives_as_it_was_sent() {
    let message = b"Subject: x\r\n\r\n.one\r\n..\r\n.\r\nend\r\n";
    for room in [1, 7, 64, 1 << 16] {
        let (outcome, letters) = against_ours(request(&["a@b.example"], message.len()), message, room).await;
        assert_eq!(outcome.fates, [Fate::Accepted(Reply::new(250, 6, 0, "stored"))]);
        assert!(outcome.dot_sent);
        assert_eq!(letters, [message], "through a pipe of {room}");
    }
}

#[tokio::test]
async fn large_letters_and_letters_without_a_last_line_end() {
    let line = format!("{}\r\n.\r\n", "x".repeat(70));
    let message = line.repeat(20_000) + "no end";
    let (outcome, letters) =
        against_ours(request(&["a@b.example"], message.len()), message.as_bytes(), 4096).await;
    assert!(matches!(outcome.fates[0], Fate::Accepted(_)), "{outcome:?}");
    assert!(letters[0] == (message + "\r\n").into_bytes());
}

#[tokio::test]
async fn no_border_between_blocks_makes_an_end_or_hides_a_fault() {
    // Lines as in the attacks that smuggle a second letter behind the first one.
    let tail = "\r\n.\r\nMAIL FROM:<a@b.example>\r\n..\r\n.x\r\n\r\n.\r\n";
    for (block, claimed) in [(4 << 10, 0), (64 << 10, 1 << 20)] {
        for before in (block - 12)..(block + 2) {
            let head = format!("{}\r\n", "x".repeat(1022)).repeat(block / 1024 + 1);
            let message = head[..before].trim_end_matches(['\r', '\n']).to_owned() + tail;
            let mut asked = request(&["a@b.example"], message.len());
            asked.size = claimed;
            let (outcome, letters) = against_ours(asked.clone(), message.as_bytes(), 4096).await;
            assert!(matches!(outcome.fates[0], Fate::Accepted(_)), "{before}: {outcome:?}");
            assert!(letters == [message.as_bytes()], "{before}");
            for lone in ["\n.\r\n", "\r.\r\n", "\r\n.\n", "\r\n.\r"] {
                let message = head[..before].trim_end_matches(['\r', '\n']).to_owned() + lone;
                let (outcome, letters) = against_ours(asked.clone(), message.as_bytes(), 4096).await;
                assert!(deferred(&outcome.fates[0]).contains("not in CRLF form"), "{before}: {outcome:?}");
                assert!(letters.is_empty() && !outcome.dot_sent, "{before}: {lone:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_empty_letter_is_a_lone_dot() {
    let (outcome, letters) = against_ours(request(&["a@b.example"], 0), b"", 64).await;
    assert!(matches!(outcome.fates[0], Fate::Accepted(_)));
    assert_eq!(letters, [b""]);
}

#[tokio::test]
async fn each_recipient_has_a_fate() {
    let (outcome, letters) =
        against_ours(request(&["a@b.example", "nobody@b.example"], 3), b"x\r\n", 4096).await;
    assert!(matches!(outcome.fates[0], Fate::Accepted(_)));
    assert_eq!(outcome.fates[1], Fate::Refused(Reply::new(550, 1, 1, "no such address")));
    assert_eq!(letters.len(), 1);
}

#[tokio::test]
async fn all_or_none_sends_nothing_when_one_is_refused() {
    let mut request = request(&["a@b.example", "nobody@b.example"], 3);
    request.all_or_none = true;
    let (outcome, letters) = against_ours(request, b"x\r\n", 4096).await;
    assert!(deferred(&outcome.fates[0]).contains("other recipients"));
    assert!(matches!(outcome.fates[1], Fate::Refused(_)));
    assert!(letters.is_empty() && !outcome.dot_sent);
}

#[tokio::test]
async fn a_lone_line_feed_is_never_ended_with_a_dot() {
    for message in [&b"one\ntwo\r\n"[..], b"one\rtwo\r\n", b"one\r\ntwo\r"] {
        let (outcome, letters) = against_ours(request(&["a@b.example"], message.len()), message, 4096).await;
        assert!(deferred(&outcome.fates[0]).contains("not in CRLF form"), "{outcome:?}");
        assert!(letters.is_empty() && !outcome.dot_sent);
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_never_ended_with_a_dot() {
    let unreadable = fails_after_a_line();
    let (mut near, far) = duplex(4096);
    let server = tokio::spawn(serve(far));
    let outcome = exchange(Duration::MAX, &mut near, request(&["a@b.example"], 10), |_| Ok(unreadable)).await;
    drop(near);
    assert!(deferred(&outcome.fates[0]).contains("cannot be read"), "{outcome:?}");
    assert!(server.await.unwrap().is_empty() && !outcome.dot_sent);

    let (mut near, far) = duplex(4096);
    let server = tokio::spawn(serve(far));
    let refuse = |_: &str| Err::<&[u8], _>(io::Error::other("no key"));
    let outcome = exchange(Duration::MAX, &mut near, request(&["a@b.example"], 10), refuse).await;
    drop(near);
    assert!(deferred(&outcome.fates[0]).contains("no key"), "{outcome:?}");
    assert!(server.await.unwrap().is_empty());
}

/// Gives a line, then fails.
fn fails_after_a_line() -> impl AsyncRead + Unpin {
    struct Failing(bool);
    impl AsyncRead for Failing {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if std::mem::replace(&mut self.0, true) {
                return Poll::Ready(Err(io::Error::other("disk")));
            }
            buffer.put_slice(b"a line\r\n");
            Poll::Ready(Ok(()))
        }
    }
    Failing(false)
}

#[tokio::test]
async fn with_pipelining_the_envelope_is_one_write_and_the_message_another() {
    let script = [
        ("", "220 mx.example\r\n"),
        ("EHLO", "250-mx\r\n250-pipelining\r\n250 SIZE\r\n"),
        ("DATA\r\n", "250 a\r\n250 b\r\n354 c\r\n"),
        (".\r\n", "250 2.0.0 queued as 1\r\n"),
        ("QUIT", "221 bye\r\n"),
    ];
    let (outcome, heard) = against_script(request(&["a@b.example"], 3), b"x\r\n", &script).await;
    assert_eq!(
        heard,
        "EHLO home.example\r\nMAIL FROM:<me@here.example> SIZE=3\r\nRCPT TO:<a@b.example>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n"
    );
    assert_eq!(outcome.fates, [Fate::Accepted(Reply::new(250, 0, 0, "queued as 1"))]);
}

#[tokio::test]
async fn a_connection_lost_after_the_dot_is_told_apart() {
    let script = [
        ("", "220 mx.example\r\n"),
        ("EHLO", "250 mx\r\n"),
        ("MAIL", "250 a\r\n"),
        ("RCPT", "250 a\r\n"),
        ("DATA\r\n", "354 c\r\n"),
    ];
    let (outcome, _) = against_script(request(&["a@b.example"], 3), b"x\r\n", &script[..4]).await;
    assert!(!outcome.dot_sent, "{outcome:?}");
    assert!(deferred(&outcome.fates[0]).contains("waiting for the reply to DATA"), "{outcome:?}");
    let (outcome, _) =
        against_script(request(&["a@b.example"], 3), b"x\r\n", &[&script[..], &[(".\r\n", "")]].concat())
            .await;
    assert!(outcome.dot_sent);
    assert!(deferred(&outcome.fates[0]).contains("waiting for the reply to the final dot"), "{outcome:?}");
}

#[tokio::test]
async fn what_a_server_says_in_the_middle_of_the_message_is_reported() {
    let message = "line\r\n".repeat(1_000_000);
    for (said, permanent) in [("552 5.3.4 enough\r\n", true), ("451 4.3.1 disk full\r\n", false)] {
        let script = [
            ("", "220 mx.example\r\n"),
            ("EHLO", "250-mx\r\n250 PIPELINING\r\n"),
            ("DATA\r\n", "250 a\r\n250 b\r\n354 c\r\n"),
            ("line\r\nline", said),
        ];
        let (outcome, _) =
            against_script(request(&["a@b.example"], 6_000_000), message.as_bytes(), &script).await;
        assert!(!outcome.dot_sent);
        match &outcome.fates[0] {
            Fate::Refused(reply) => assert!(permanent && reply.text == "enough"),
            fate => assert!(!permanent && deferred(fate).contains("4.3.1 disk full"), "{fate:?}"),
        }
    }
}

/// Short, so that the tests are; what is tested is that the waits end, not how long they are.
const PATIENCE: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_greeting_that_drips_for_ever_ends() {
    let (mut near, mut far) = duplex(4096);
    let drip = tokio::spawn(async move {
        while far.write_all(b"220-x\r\n").await.is_ok() {
            tokio::time::sleep(PATIENCE / 10).await;
        }
    });
    let open = |_: &str| Ok(&b""[..]);
    let outcome = exchange(PATIENCE, &mut near, request(&["a@b.example"], 0), open).await;
    assert_eq!(deferred(&outcome.fates[0]), "no answer in 200ms, while waiting for the greeting");
    drop(near);
    drip.await.unwrap();
}

#[tokio::test]
async fn a_server_that_takes_nothing_is_given_up() {
    let message = "line\r\n".repeat(100_000);
    let (mut near, mut far) = duplex(4096);
    let server = tokio::spawn(async move {
        let mut buffer = [0; 4096];
        for said in ["220 mx\r\n", "250-mx\r\n250 PIPELINING\r\n", "250 a\r\n250 b\r\n354 c\r\n"] {
            far.write_all(said.as_bytes()).await.unwrap();
            let _ = far.read(&mut buffer).await;
        }
        std::future::pending::<()>().await;
    });
    let open = |_: &str| Ok(message.as_bytes());
    let outcome = exchange(PATIENCE, &mut near, request(&["a@b.example"], 0), open).await;
    assert_eq!(
        deferred(&outcome.fates[0]),
        "the server took nothing for 200ms, while the message was being sent"
    );
    server.abort();
}

#[tokio::test]
async fn replies_are_read_while_a_long_envelope_is_written() {
    // Neither direction of the pipe has room for the whole; a client that only writes would wait for ever.
    let recipients: Vec<String> = (0..100).map(|n| format!("recipient-number-{n}@b.example")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let (outcome, letters) = against_ours(request(&recipients, 3), b"x\r\n", 16).await;
    assert!(outcome.fates.iter().all(|fate| matches!(fate, Fate::Accepted(_))));
    assert_eq!((outcome.fates.len(), letters.len()), (100, 1));
}

#[tokio::test]
async fn a_dot_that_may_have_gone_out_counts_as_sent() {
    let (mut near, mut far) = duplex(512);
    let server = async move {
        let mut buffer = [0; 512];
        for said in ["220 mx\r\n", "250-mx\r\n250 PIPELINING\r\n", "250 a\r\n250 b\r\n354 c\r\n"] {
            far.write_all(said.as_bytes()).await.unwrap();
            assert!(far.read(&mut buffer).await.unwrap() > 0);
        }
        // The block with the dot is on its way; how much of it arrived nobody can know.
    };
    let message = "line\r\n".repeat(1000);
    let client =
        exchange(Duration::MAX, &mut near, request(&["a@b.example"], 6000), |_| Ok(message.as_bytes()));
    let (outcome, ()) = tokio::join!(client, server);
    assert!(outcome.dot_sent, "{outcome:?}");
    assert!(matches!(outcome.fates[0], Fate::Deferred(_)));
}
