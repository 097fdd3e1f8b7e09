use super::wire::{Answer, MAX_REQUEST, Request};
use super::{ask, renew, socket_in};
use crate::certs::orders::{self, Outcome};
use crate::relay::orders::Order;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;

#[test]
fn a_request_comes_back_as_it_was() {
    let words = vec!["example.org".to_owned(), "me@example.net".into()];
    let requests = [
        (Request::Destinations, "{\"control\":1,\"destinations\":true}\n"),
        (Request::Renew, "{\"control\":1,\"renew\":true}\n"),
        (
            Request::Order { order: Order::Hold, words },
            "{\"control\":1,\"order\":\"hold\",\"words\":[\"example.org\",\"me@example.net\"]}\n",
        ),
        (
            Request::Order { order: Order::Drop, words: vec![] },
            "{\"control\":1,\"order\":\"drop\",\"all\":true}\n",
        ),
    ];
    for (request, text) in requests {
        assert_eq!(String::from_utf8(request.to_line().unwrap()).unwrap(), text);
        assert_eq!(Request::parse(text.as_bytes()), Ok(request));
    }
}

#[test]
fn words_that_got_lost_are_no_order_for_everything() {
    for text in [
        "",
        "\n",
        "GET / HTTP/1.1\r\n",
        "{\"control\":1}\n",
        "{\"control\":1,\"order\":\"drop\"}\n",
        "{\"control\":1,\"order\":\"drop\",\"words\":[]}\n",
        "{\"control\":1,\"order\":\"drop\",\"words\":[\"a.example\"],\"all\":true}\n",
        "{\"control\":1,\"order\":\"drop\",\"all\":true,\"destinations\":true}\n",
        "{\"control\":1,\"order\":\"drop\",\"word\":[\"a.example\"],\"all\":true}\n",
        "{\"control\":1,\"order\":\"drop\",\"all\":true,\"renew\":true}\n",
        "{\"control\":1,\"renew\":true,\"words\":[\"a.example\"]}\n",
        "{\"control\":1,\"renew\":true,\"destinations\":true}\n",
        "{\"control\":1,\"order\":\"burn\",\"all\":true}\n",
        "{\"control\":1,\"order\":\"drop\",\"all\":true}",
    ] {
        assert!(Request::parse(text.as_bytes()).is_err(), "{text}");
    }
    let newer = Request::parse(b"{\"control\":2,\"frob\":1}\n").unwrap_err();
    assert!(newer.contains("version 1") && newer.contains("restart"), "{newer}");
}

#[test]
fn an_order_with_too_many_words_is_not_sent() {
    let words = vec!["a".repeat(100); MAX_REQUEST / 100];
    let said = Request::Order { order: Order::Retry, words }.to_line().unwrap_err();
    assert!(said.contains("portions"), "{said}");
}

#[test]
fn an_answer_is_a_line() {
    assert_eq!(Answer::End.to_line(), b"\"end\"\n");
    assert_eq!(Answer::Working.to_line(), b"\"working\"\n");
    assert_eq!(Answer::Fault("a\nb".into()).to_line(), b"{\"fault\":\"a\\nb\"}\n");
}

fn renewed() -> Outcome {
    Outcome { what: "mx.here.example".into(), good: true, said: "renewed".into() }
}

#[tokio::test]
async fn who_waits_for_a_renewal_hears_that_it_goes_on() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let (renewals, mut orders) = orders::channel();
    let answering = renew(&mut ours, &renewals, Duration::from_millis(5));
    let keeping = async {
        let order = orders.next().await;
        let mut lines = BufReader::new(theirs).lines();
        for _ in 0..3 {
            assert_eq!(lines.next_line().await.unwrap().unwrap(), "\"working\"");
        }
        order.answer(vec![renewed()]);
    };
    let (answers, ()) = tokio::join!(answering, keeping);
    assert_eq!(answers.unwrap(), [Answer::Renewed(renewed()), Answer::End]);
    drop(orders);
    let answers = renew(&mut ours, &renewals, Duration::from_secs(60)).await.unwrap();
    assert!(matches!(&answers[..], [Answer::Fault(_)]), "{answers:?}");
}

#[test]
fn who_asks_for_a_renewal_waits_while_it_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(ask::renew(directory.path()).unwrap(), None);
    let listener = UnixListener::bind(socket_in(directory.path())).unwrap();
    let answers = [Answer::Working, Answer::Working, Answer::Renewed(renewed()), Answer::End];
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 27];
        stream.read_exact(&mut request).unwrap();
        assert_eq!(Request::parse(&request), Ok(Request::Renew));
        answers.iter().for_each(|answer| stream.write_all(&answer.to_line()).unwrap());
    });
    assert_eq!(ask::renew(directory.path()).unwrap(), Some(vec![renewed()]));
    server.join().unwrap();
}
