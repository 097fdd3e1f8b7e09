use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const LONG: Duration = Duration::from_secs(20);

fn command(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| word.to_string()).collect()
}

async fn dead_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn the_first_address_that_answers_is_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let alive = listener.local_addr().unwrap();
    let stream = connect(&[dead_address().await, alive]).await.unwrap();
    assert_eq!(stream.peer(), Some(alive));
    assert!(matches!(stream, Stream::Tcp(stream) if stream.nodelay().unwrap()));
}

#[tokio::test]
async fn when_none_answers_each_is_named() {
    let (one, two) = (dead_address().await, dead_address().await);
    let error = connect(&[one, two]).await.unwrap_err().0;
    assert!(error.contains(&one.to_string()) && error.contains(&two.to_string()), "{error}");
    assert!(connect(&[]).await.unwrap_err().0.contains("no address"));
}

#[tokio::test]
async fn a_child_is_a_stream_with_an_end_on_both_sides() {
    let mut stream =
        spawn(&command(&["sh", "-c", "echo hello {server}; cat"]), "there", Stderr::Capture).unwrap();
    stream.write_all(b"and back").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "hello there\nand back");
    assert_eq!(stream.finish(LONG).await, Ok(()));
}

#[tokio::test]
async fn a_child_that_fails_says_why() {
    let script = "echo warning >&2; printf 'Permission \\033denied.\\n\\n' >&2; exit 255";
    let stream = spawn(&command(&["sh", "-c", script]), "", Stderr::Capture).unwrap();
    let error = stream.finish(LONG).await.unwrap_err();
    assert_eq!(error, "sh ended with exit status: 255: Permission ?denied.");
}

#[tokio::test]
async fn a_child_that_never_ends_is_killed() {
    let stream = spawn(&command(&["sleep", "1000"]), "", Stderr::Inherit).unwrap();
    let error = stream.finish(Duration::from_millis(50)).await.unwrap_err();
    assert!(error.contains("was killed"), "{error}");
}

#[tokio::test]
async fn a_dropped_child_is_killed_and_reaped() {
    let mut stream = spawn(&command(&["sh", "-c", "echo $$; exec sleep 1000"]), "", Stderr::Inherit).unwrap();
    let mut pid = [0; 32];
    let count = stream.read(&mut pid).await.unwrap();
    let proc = format!("/proc/{}", String::from_utf8_lossy(&pid[..count]).trim());
    assert!(std::path::Path::new(&proc).exists());
    drop(stream);
    let gone = async {
        while std::path::Path::new(&proc).exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, gone).await.expect("neither killed nor reaped");
}

#[tokio::test]
async fn what_cannot_be_run_is_named() {
    let error = spawn(&command(&["/nowhere/ssh"]), "", Stderr::Inherit).unwrap_err().0;
    assert!(error.contains("cannot run /nowhere/ssh"), "{error}");
    assert!(spawn(&[], "", Stderr::Inherit).is_err());
}

#[tokio::test]
async fn the_configured_way_may_be_a_url() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let way = Via::Url(format!("smtp://{{server}}:{port}"));
    assert!(reach(&way, "127.0.0.1", Stderr::Inherit).await.is_ok());
    for url in ["http://127.0.0.1", "smtp://", "127.0.0.1:25"] {
        let error = reach(&Via::Url(url.into()), "", Stderr::Inherit).await.unwrap_err().0;
        assert!(error.contains("want smtp://"), "{error}");
    }
}

#[test]
fn the_port_is_25_unless_one_is_named() {
    for (place, full) in [
        ("a.example", "a.example:25"),
        ("a.example:587", "a.example:587"),
        ("[::1]", "[::1]:25"),
        ("[::1]:26", "[::1]:26"),
    ] {
        assert_eq!(with_port(place, 25), full);
    }
}

#[tokio::test]
async fn an_address_that_is_silent_does_not_hold_up_the_next() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let silent = full.local_addr().unwrap();
    // Nobody accepts: once the queue is full, a further connection hears nothing.
    let mut queue = Vec::new();
    while let Ok(Ok(stream)) = timeout(Duration::from_millis(300), TcpStream::connect(silent)).await {
        queue.push(stream);
        assert!(queue.len() < 100, "the queue never fills");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let alive = listener.local_addr().unwrap();
    let stream = timeout(CONNECT / 2, connect(&[silent, alive])).await.expect("waited for the silent one");
    assert_eq!(stream.unwrap().peer(), Some(alive));
}
