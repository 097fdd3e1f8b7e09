//! Servers that would hold us for ever, or feed us until we burst.

use super::*;

async fn opened(said: &str, patience: Duration) -> Result<(), Trouble> {
    let (near, mut far) = duplex(4096);
    let server = async {
        // The client may go before it has heard everything.
        let _ = far.write_all(said.as_bytes()).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        opened = Session::open_clear(near, "home.example", patience) => opened.map(|_| ()),
        () = server => unreachable!(),
    }
}

#[tokio::test]
async fn endless_greetings_are_cut_short() {
    let line = format!("220 {}\r\n", "x".repeat(1 << 20));
    let lines = "220-hello\r\n".repeat(10_000) + "220 hello\r\n";
    let wide = format!("220-{}\r\n", "x".repeat(4000)).repeat(100);
    for said in [line, lines, wide, "\0".repeat(1 << 16)] {
        let trouble = opened(&said, Duration::MAX).await.unwrap_err();
        assert!(matches!(&trouble, Trouble::Deferred(why) if why.len() < 400), "{trouble:?}");
    }
    // A code alone is a reply; what follows it here is none.
    let trouble = opened("220\r\n250", PATIENCE).await.unwrap_err();
    assert_eq!(trouble, Trouble::Deferred("no answer in 200ms, while waiting for the reply to EHLO".into()));
}

/// Performs a transaction for which there is `time`.
async fn within(time: Duration, stream: DuplexStream, request: Request, message: &[u8]) -> Outcome {
    let mut talk = Session::open_clear(stream, "home.example", Duration::from_secs(60)).await.unwrap().talk;
    talk.allow(time);
    let size = request.size;
    talk.client.begin(request);
    loop {
        match talk.client.step() {
            Step::Write(bytes) => talk.write(&bytes).await,
            Step::Read => talk.read().await,
            Step::SendMessage => talk.send(message, size).await,
            Step::Done(outcome) => return outcome,
            _ => unreachable!("no such step in a transaction"),
        }
    }
}

#[tokio::test]
async fn a_server_that_answers_each_command_just_in_time_is_given_up_all_the_same() {
    let (near, mut far) = duplex(1 << 16);
    let recipients: Vec<String> = (0..10_000).map(|n| format!("r{n}@b.example")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let server = async {
        far.write_all(b"220 mx\r\n").await.unwrap();
        let mut buffer = [0; 4096];
        while let Ok(1..) = far.read(&mut buffer).await {
            tokio::time::sleep(PATIENCE / 10).await;
            let _ = far.write_all(b"250 mx\r\n").await;
        }
    };
    let client = within(PATIENCE, near, request(&recipients, 3), b"x\r\n");
    let (outcome, ()) = tokio::join!(client, server);
    let why = deferred(&outcome.fates[0]);
    assert!(why.starts_with("the server was too slow over all, while waiting for the reply to "), "{why}");
}

#[tokio::test]
async fn a_server_that_takes_the_message_octet_by_octet_is_given_up_all_the_same() {
    let (near, mut far) = duplex(64);
    let message = "line\r\n".repeat(100_000);
    let server = async {
        let mut buffer = [0; 4096];
        for said in ["220 mx\r\n", "250-mx\r\n250 PIPELINING\r\n", "250 a\r\n250 b\r\n354 c\r\n"] {
            far.write_all(said.as_bytes()).await.unwrap();
            let _ = far.read(&mut buffer).await;
        }
        while let Ok(1..) = far.read(&mut buffer[..1]).await {
            tokio::time::sleep(PATIENCE / 100).await;
        }
    };
    let client = within(PATIENCE * 5, near, request(&["a@b.example"], message.len()), message.as_bytes());
    let (outcome, ()) = tokio::join!(client, server);
    let wanted = "the server was too slow over all, while the message was being sent";
    assert_eq!((deferred(&outcome.fates[0]), outcome.dot_sent), (wanted, false));
}

#[tokio::test]
async fn the_reply_to_the_dot_is_waited_for_however_long_the_letter_took() {
    let (near, mut far) = duplex(4096);
    let server = async {
        let mut buffer = [0; 4096];
        for said in ["220 mx\r\n", "250-mx\r\n250 PIPELINING\r\n", "250 a\r\n250 b\r\n354 c\r\n"] {
            far.write_all(said.as_bytes()).await.unwrap();
            let _ = far.read(&mut buffer).await;
        }
        tokio::time::sleep(PATIENCE * 12).await;
        far.write_all(b"250 taken\r\n").await.unwrap();
    };
    let client = within(PATIENCE * 10, near, request(&["a@b.example"], 3), b"x\r\n");
    let (outcome, ()) = tokio::join!(client, server);
    assert!(matches!(outcome.fates[..], [Fate::Accepted(_)]), "{outcome:?}");
}

#[tokio::test]
async fn nobody_accepts_a_letter_before_it_is_written() {
    for (said, permanent) in [("250 2.0.0 taken\r\n", false), ("552 5.3.4 enough\r\n", true)] {
        let (near, mut far) = duplex(4096);
        let (mut author, message) = duplex(1);
        let server = async move {
            let mut buffer = [0; 4096];
            for said in ["220 mx\r\n", "250-mx\r\n250 PIPELINING\r\n"] {
                far.write_all(said.as_bytes()).await.unwrap();
                assert!(far.read(&mut buffer).await.unwrap() > 0);
            }
            far.write_all(b"250 a\r\n250 b\r\n354 c\r\n").await.unwrap();
            // The second octet fits only when the first one was read, and so the replies before it.
            author.write_all(b"a ").await.unwrap();
            far.write_all(said.as_bytes()).await.unwrap();
            author.write_all(b"line\r\n").await.unwrap();
            far
        };
        let client = async {
            let mut session = Session::open_clear(near, "home.example", Duration::MAX).await.unwrap();
            let outcome = session.send(request(&["a@b.example"], 8), message).await;
            assert!(!session.is_open());
            outcome
        };
        let (outcome, _far) = tokio::join!(client, server);
        match &outcome.fates[0] {
            Fate::Refused(reply) => assert!(permanent && reply.text == "enough"),
            fate => assert!(!permanent && deferred(fate).contains("before the message was sent"), "{fate:?}"),
        }
    }
}
