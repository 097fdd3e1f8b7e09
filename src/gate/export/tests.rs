use super::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;

struct Server {
    directory: tempfile::TempDir,
}

impl Server {
    fn with(letters: &[(&str, &str)]) -> Server {
        let server = Server { directory: tempfile::tempdir().unwrap() };
        for (name, text) in letters {
            server.put(name, text);
        }
        server
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join("mail").join(name)
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn source(&self, allowed: &[&str]) -> Source {
        let config = config::Server {
            mail_root: self.path(""),
            state_dir: self.directory.path().join("state"),
            ..config::Server::default()
        };
        Source::open(&Allowed::parse(allowed).unwrap(), &config).unwrap().0
    }

    /// The labels that a session confined to `allowed` gets when it asks for `wanted`; what is unknown, and the troubles.
    fn select(&self, allowed: &[&str], wanted: &[&str]) -> (Vec<String>, Vec<String>) {
        let wanted: Vec<String> = wanted.iter().map(|name| name.to_string()).collect();
        let selected = self.source(allowed).select(&wanted).unwrap();
        let mut labels: Vec<String> = selected.mailboxes.into_iter().map(|mailbox| mailbox.label).collect();
        labels.sort();
        (labels, [selected.unknown, selected.troubles].concat())
    }

    /// What a home that says `said` hears, as words.
    fn hears(&self, allowed: &[&str], said: &[FromHome]) -> (Vec<String>, Result<(), ServeError>) {
        let mut input = Vec::new();
        for frame in said {
            frame.write_to(&mut input).unwrap();
        }
        let mut output = Vec::new();
        let ended = serve(&self.source(allowed), &"0".repeat(32), "mx", &input[..], &mut output);
        let mut frames = FrameReader::new(&output[..]);
        let mut heard = Vec::new();
        while let Ok(frame) = frames.server_frame() {
            heard.push(match frame {
                FromServer::Letter(head) => format!("letter {}:{}", head.base, head.flags),
                FromServer::Whole(_) => "whole".into(),
                FromServer::Chunk(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                FromServer::Trouble(text) => format!("trouble {text}"),
                FromServer::Fault(text) => format!("fault {text}"),
                other => format!("{other:?}"),
            });
        }
        (heard, ended)
    }
}

fn request(addresses: &[&str]) -> FromHome {
    FromHome::Request { version: VERSION, addresses: addresses.iter().map(|name| name.to_string()).collect() }
}

fn tree() -> Server {
    let server = Server::with(&[
        ("example.org/me/new/1", "one"),
        ("example.org/me/topic/new/2", "two"),
        ("example.org/you/new/3", "three"),
        ("example.net/me/new/4", "four"),
    ]);
    symlink("me", server.path("example.org/alias")).unwrap();
    symlink("example.org", server.path("example.com")).unwrap();
    server
}

#[test]
fn a_session_sees_what_its_key_is_for_and_nothing_else() {
    let server = tree();
    let all = ["example.net/me", "example.org/me", "example.org/me/topic", "example.org/you"];
    let mine = ["example.org/me", "example.org/me/topic"];
    let table: [(&[&str], &[&str], &[&str]); 12] = [
        (&[], &[], &all),
        (&["example.org"], &[], &all[1..]),
        (&["example.net"], &[], &all[..1]),
        (&["me@example.org"], &[], &mine),
        (&["alias@example.org"], &[], &mine),
        (&["me@example.com"], &[], &mine),
        (&["me/topic@example.org"], &[], &["example.org/me/topic"]),
        (&[], &["me@example.org"], &mine),
        (&["example.org"], &["me@example.org"], &mine),
        (&["me@example.org"], &["me/topic@example.org"], &["example.org/me/topic"]),
        (&["me/topic@example.org"], &["me@example.org"], &["example.org/me/topic"]),
        (&["me@example.org", "example.net"], &[], &all[..3]),
    ];
    for (allowed, wanted, expected) in table {
        let (labels, troubles) = server.select(allowed, wanted);
        assert_eq!(labels, expected, "{allowed:?} {wanted:?}");
        assert!(troubles.is_empty(), "{allowed:?} {wanted:?} {troubles:?}");
    }
}

#[test]
fn asking_for_more_gives_nothing_and_says_so() {
    let server = tree();
    for wanted in ["you@example.org", "me@example.net", "nobody@example.org", "me@example.edu"] {
        let (labels, troubles) = server.select(&["me@example.org"], &[wanted]);
        assert!(labels.is_empty(), "{wanted}: {labels:?}");
        assert_eq!(troubles.len(), 1, "{wanted}");
        assert!(troubles[0].contains(wanted));
    }
}

#[test]
fn what_is_not_there_is_told_from_what_is_not_allowed() {
    let server = tree();
    let wanted = [
        "Nobody@example.org",
        "me/nothing@example.org",
        "me@example.edu",
        "example.edu",
        "nobody@example.org",
    ];
    let said =
        |allowed: &[&str], wanted: &[&str]| server.hears(allowed, &[request(wanted), FromHome::Done]).0;
    let heard = said(&[], &wanted);
    for name in wanted {
        assert!(heard.contains(&format!("Unknown({name:?})")), "{name}: {heard:?}");
    }
    for (allowed, wanted) in [("me@example.org", "you@example.org"), ("gone@example.org", "me@example.org")] {
        let heard = said(&[allowed], &[wanted]);
        assert!(heard.iter().all(|frame| !frame.starts_with("Unknown")), "{heard:?}");
        assert!(heard.iter().any(|frame| frame.starts_with("trouble")), "{heard:?}");
    }
    // A name that cannot be looked up may be there.
    fs::create_dir(server.path("example.org/NOBODY")).unwrap();
    let heard = said(&[], &["nobody@example.org"]);
    assert!(heard.last().unwrap().starts_with("fault"), "{heard:?}");
}

#[test]
fn a_letter_is_removed_when_it_is_acknowledged_and_not_before() {
    let server = Server::with(&[("example.org/me/new/1", "one"), ("example.org/me/cur/2:2,RS", "two")]);
    let source = server.source(&[]);
    let (home, gate) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&source, &"0".repeat(32), "mx", &gate, &gate).unwrap());
        let mut frames = FrameReader::new(&home);
        let say = |frame: FromHome| frame.write_to(&mut &home).unwrap();
        say(request(&[]));
        while !matches!(frames.server_frame().unwrap(), FromServer::Sent) {}
        assert!(server.path("example.org/me/new/1").exists());
        // Its reader moves it while it is on its way.
        fs::rename(server.path("example.org/me/new/1"), server.path("example.org/me/cur/1:2,S")).unwrap();
        say(FromHome::Kept(vec![0]));
        assert_eq!(frames.server_frame().unwrap(), FromServer::Removed(vec![0]));
        assert!(!server.path("example.org/me/cur/1:2,S").exists());
        assert!(server.path("example.org/me/cur/2:2,RS").exists());
        say(FromHome::Done);
        assert_eq!(frames.server_frame().unwrap(), FromServer::Bye);
    });
    assert!(server.path("example.org/me/cur/2:2,RS").exists());
}

#[test]
fn an_acknowledgement_of_what_was_not_sent_removes_nothing() {
    let server = Server::with(&[("example.org/me/new/1", "one")]);
    let (heard, ended) = server.hears(&[], &[request(&[]), FromHome::Kept(vec![5]), FromHome::Done]);
    assert!(matches!(ended, Err(ServeError::Home(WireError::Order(_)))), "{ended:?}");
    assert!(heard.last().unwrap().starts_with("fault"), "{heard:?}");
    assert!(server.path("example.org/me/new/1").exists());
}

#[test]
fn home_of_another_version_is_told() {
    let server = Server::with(&[("example.org/me/new/1", "one")]);
    let (heard, ended) = server.hears(&[], &[FromHome::Request { version: 9, addresses: vec![] }]);
    assert!(ended.is_err());
    assert!(heard.last().unwrap().contains("version 9"), "{heard:?}");
}

#[test]
fn a_letter_whose_size_is_not_what_was_listed_is_dropped_and_the_rest_comes() {
    let server = Server::with(&[("example.org/me/new/1", "one"), ("example.org/me/new/2", "two")]);
    let source = server.source(&[]);
    let mailbox = source.select(&[]).unwrap().mailboxes.remove(0);
    for (size, good) in [(2, false), (3, true), (4, false)] {
        let outstanding = Outstanding::default();
        let (_events, inbox) = mpsc::channel();
        let mut output = Vec::new();
        let chunk = vec![0; MAX_PAYLOAD];
        let mut sender = Sender {
            source: &source,
            outstanding: &outstanding,
            inbox,
            output: &mut output,
            chunk,
            number: 0,
        };
        let mut letter = source.list(&mailbox).unwrap().remove(0);
        letter.size = size;
        sender.letter(0, &mailbox, letter).unwrap();
        assert_eq!(outstanding.lock().unwrap().len(), usize::from(good));
        let text = String::from_utf8_lossy(&output).into_owned();
        assert_eq!(text.contains("changed"), !good, "{text}");
    }
}

#[test]
fn flags_are_letters() {
    let letter = |flags: Option<&str>| Exported {
        base: "1".into(),
        flags: flags.map(String::from),
        in_cur: true,
        size: 0,
        inode: 0,
    };
    assert_eq!(flags(&letter(Some("2,FRS"))), "FRS");
    assert_eq!(flags(&letter(Some("2,F/../S"))), "FS");
    assert_eq!(flags(&letter(Some("1,x"))), "");
    assert_eq!(flags(&letter(None)), "");
}
