//! The server told to stop while it relays: what has not begun a transaction is let go and stays as it was, what is within
//! one is ended. A stop that waited for the others would take 30 seconds, which is more than these tests' patience.

mod harness;

use harness::post::{DEAD, ME, Post, names};
use harness::{PATIENCE, eventually};
use pillarbox::mail::address::Address;
use pillarbox::mail::envelope::{Envelope, Recipient, ReversePath, Sender};
use pillarbox::queue::{NewEntry, Queue};
use pillarbox::smtp::Door;
use pillarbox::store::letter::{Spill, SpillRoom};
use rustix::process::{Pid, Signal, kill_process};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

const OK: &str = "ok@there.example";
const LATER: &str = "later@far.example";
const NOBODY: &str = "nobody@dead.example";

/// A host that answers no SYN: its backlog is full.
struct DeadHost {
    _listener: TcpListener,
    _callers: Vec<TcpStream>,
    address: SocketAddr,
}

impl DeadHost {
    fn new(post: &Post) -> DeadHost {
        let address = SocketAddr::from((DEAD, post.sink.address.port()));
        let listener = TcpListener::bind(address).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let knock = || TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok();
        let callers = std::iter::from_fn(knock).collect();
        DeadHost { _listener: listener, _callers: callers, address }
    }

    /// Waits until somebody has sent it a SYN.
    fn wait_for_a_call(&self) {
        let SocketAddr::V4(address) = self.address else { unreachable!() };
        let place = format!("{:08X}:{:04X}", u32::from_le_bytes(address.ip().octets()), address.port());
        eventually("a call of the dead host", || {
            let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let calls = |line: &str| {
                let words: Vec<_> = line.split_whitespace().collect();
                // SYN_SENT.
                words.get(2) == Some(&place.as_str()) && words.get(3) == Some(&"02")
            };
            sockets.lines().any(calls).then_some(())
        });
    }
}

/// What stands in `state/`, file by file.
fn states(post: &Post) -> Vec<(String, Vec<u8>)> {
    let directory = post.server.state_dir().join("state");
    names(&directory).into_iter().map(|id| (id.clone(), std::fs::read(directory.join(id)).unwrap())).collect()
}

/// Puts `count` letters into the queue of a server that is down; many at once, since they share an fsync then.
fn commit(post: &Post, to: &str, count: usize) {
    let queue = Queue::open(&post.server.state_dir()).unwrap();
    let room = SpillRoom::open(&post.server.state_dir().join("spill"), 1 << 16, 1 << 20).unwrap();
    let commit = || {
        let entry = NewEntry {
            door: Door::Submission,
            arrived: harness::home::now(),
            envelope: Envelope {
                sender: Sender::new(ReversePath::Address(Address::parse(ME).unwrap())),
                recipients: vec![Recipient::new(Address::parse(to).unwrap())],
            },
            once: None,
            junk: false,
            received: Vec::new(),
        };
        queue.commit(entry, b"Subject: committed\r\n\r\n", &Spill::new(room.clone()), None).unwrap();
    };
    let left = AtomicUsize::new(count);
    let one = || left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
    std::thread::scope(|scope| {
        for _ in 0..20.min(count) {
            scope.spawn(|| {
                while one() {
                    commit()
                }
            });
        }
    });
}

#[test]
fn who_is_only_being_tried_is_let_go_and_stays_as_he_was() {
    for stage in ["greeting", "EHLO"] {
        let mut post = Post::new("");
        let dead = DeadHost::new(&post);
        let put_off = post.send(&[LATER], "put off");
        post.says("put off", 1);
        eventually("a state", || post.state(&put_off));
        let before = states(&post);
        assert!(post.server.terminate().success());
        post = post.again();
        post.send(&[OK], "something else");
        eventually("something else", || (post.at_the_sink("something else", OK) == 1).then_some(()));
        assert!(post.server.terminate().success());
        post = post.again();
        assert_eq!(states(&post), before, "attempts and times outlast a restart");

        post.sink.hold(stage);
        post.retry();
        post.send(&[OK], "held");
        post.send(&[NOBODY], "dead");
        post.sink.wait_until_held();
        dead.wait_for_a_call();
        let before = states(&post);
        assert_eq!(before.len(), 1, "the other two were never tried");
        assert!(post.server.terminate().success(), "{stage}");
        assert_eq!(states(&post), before, "{stage}");
        assert_eq!(names(&post.queue()).len(), 3, "{stage}");
        post.sink.release();
        post = post.again();
        eventually("the letter that was held", || (post.at_the_sink("held", OK) == 1).then_some(()));
        let tried_again = || post.state(&put_off).filter(|it| it["recipients"][0]["attempts"] == 2);
        eventually("the other one's second attempt", tried_again);
        assert_eq!(post.at_the_sink("held", OK), 1, "{stage}");
    }
}

#[test]
fn who_is_within_a_transaction_ends_it() {
    for stage in ["MAIL", "DATA", "."] {
        let mut post = Post::new("");
        post.sink.hold(stage);
        post.send(&[OK], stage);
        post.sink.wait_until_held();
        kill_process(Pid::from_raw(post.server.pid().cast_signed()).unwrap(), Signal::TERM).unwrap();
        post.says("stopping", 1);
        eventually("a closed door", || TcpStream::connect(post.server.mx()).is_err().then_some(()));
        assert!(post.server.is_alive(), "{stage}");
        post.sink.release();
        assert!(post.server.wait().success(), "{stage}");
        assert_eq!(post.at_the_sink(stage, OK), 1, "{stage}");
        post = post.again();
        post.rest(stage);
        assert_eq!(post.at_the_sink(stage, OK), 1, "{stage}: recorded before the end");
    }
}

#[test]
fn a_thousand_letters_for_a_dead_host_do_not_hold_the_stop() {
    let mut post = Post::new("");
    let dead = DeadHost::new(&post);
    post.server.kill();
    commit(&post, NOBODY, 1000);
    let before = names(&post.queue());
    post = post.again();
    dead.wait_for_a_call();
    assert!(post.server.terminate().success());
    assert_eq!(names(&post.queue()), before);
    assert_eq!(states(&post), []);
    assert_eq!(before.len(), 1000);
    // The next start takes them up again.
    post = post.again();
    dead.wait_for_a_call();
    assert!(post.server.terminate().success());
}

#[test]
fn a_name_server_that_says_nothing_does_not_hold_the_stop() {
    let mut post = Post::new("");
    post.server.kill();
    commit(&post, OK, 1);
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    let config = std::fs::read_to_string(post.server.config()).unwrap();
    let silenced = config.lines().map(|line| match line.starts_with("servers = ") {
        true => format!("servers = [\"{}\"]\n", silent.local_addr().unwrap()),
        false => format!("{line}\n"),
    });
    std::fs::write(post.server.config(), silenced.collect::<String>()).unwrap();
    post = post.again();
    let mut question = [0; 512];
    // Whether it asks for DNSSEC is another question.
    while !question.windows(5).any(|name| name == b"there") {
        silent.recv(&mut question).expect("a question");
    }
    assert!(post.server.terminate().success());
    assert_eq!(states(&post), []);
    std::fs::write(post.server.config(), config).unwrap();
    post = post.again();
    post.rest("with a name server that answers");
    assert_eq!(post.at_the_sink("committed", OK), 1);
}
