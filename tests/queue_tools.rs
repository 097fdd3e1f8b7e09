//! The queue's tools on the real binary: what waits is shown, orders are carried out by a running server and on a stopped
//! one, and an owner sees his own letters only.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

mod harness;

use harness::home::{Home, letter};
use harness::sink::Sink;
use harness::{Dns, PATIENCE, PILLARBOX, Plan, Server, ZONE, eventually};
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};

const ME: &str = "me@here.example";
const YOU: &str = "you@here.example";
const FRIEND: &str = "friend@there.example";
const TOPIC: &str = "me/lists@here.example";

/// Our server, whose letters all go to one sink that does not want them yet.
struct Town {
    server: Server,
    sink: Sink,
    home: Home,
    dns: Dns,
}

impl Town {
    fn new() -> Town {
        let (dns, sink) = (Dns::start(ZONE), Sink::start());
        dns.add("other.example. 60 IN MX 10 mx.there.example.\n");
        sink.away(true);
        let relay = format!("[relay]\nport = {}\nallow_private = true\n", sink.address.port());
        let addresses = [ME, YOU, TOPIC];
        let server = Plan::new("mx.here.example", &addresses).with(&relay).start(&dns);
        let home = Home::new(&dns, ME);
        home.use_server(&server);
        Town { server, sink, home, dns }
    }

    /// A letter that waits, since it was tried or since its destination was; its id.
    fn deferred(&self, to: &str, subject: &str) -> String {
        self.sent(&self.home, to, subject)
    }

    fn sent(&self, home: &Home, to: &str, subject: &str) -> String {
        let sent = home.command(&["sendmail", "-oi", to], &letter(&home.address.to_string(), to, subject));
        assert!(sent.status.success() && sent.stderr.is_empty(), "{}", shown(&sent));
        let found = || {
            let mine = self.waiting(&[to]).into_iter().rev();
            let tried = |waiting: &Value| waiting["reason"].is_string() || waiting["closed"].is_object();
            let tried = mine.filter(tried).find(|waiting| {
                let id = waiting["id"].as_str().unwrap();
                self.show(id)["header"][0]["text"] == subject
            });
            tried.map(|waiting| waiting["id"].as_str().unwrap().to_owned())
        };
        eventually("the letter's first try", found)
    }

    fn waiting(&self, words: &[&str]) -> Vec<Value> {
        let lines = json_lines(&self.ran(&[&["list", "--json"], words].concat()));
        lines.into_iter().filter_map(|mut line| line.get_mut("waiting").map(Value::take)).collect()
    }

    fn show(&self, id: &str) -> Value {
        let output = self.ran(&["show", id, "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// `pillarbox queue …`
    fn ran(&self, arguments: &[&str]) -> Output {
        self.server.command(&[&["queue"], arguments].concat())
    }

    /// The same, when it must succeed; what it said.
    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.ran(arguments);
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {}", shown(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn fails(&self, arguments: &[&str], exit: i32) -> String {
        let output = self.ran(arguments);
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {}", shown(&output));
        String::from_utf8(output.stderr).unwrap()
    }

    fn is_empty(&self) -> bool {
        self.done(&["list"]) == "Nothing waits\n"
    }

    fn reports(&self, about: &str) -> usize {
        let said = |letter: &&String| letter.contains("multipart/report") && letter.contains(about);
        self.server.letters("here.example/me").iter().filter(said).count()
    }
}

fn json_lines(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}: {}{}", output.status, text(&output.stdout), text(&output.stderr))
}

#[test]
fn what_waits_is_listed_with_its_reason_and_shown_in_full() {
    let town = Town::new();
    assert!(town.is_empty());
    let id = town.deferred(FRIEND, "for a friend");
    let other = town.deferred("a@other.example", "elsewhere");

    let list = town.done(&["list"]);
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 3, "{list}");
    let line = lines.iter().find(|line| line.starts_with(&id)).unwrap();
    assert!(line.contains(&format!("{ME} → {FRIEND}  1 try, next in ")), "{list}");
    assert!(lines[2].starts_with("2 letters, 2 recipients, "), "{list}");
    // The same server was found to be away a moment ago.
    let line = lines.iter().find(|line| line.starts_with(&other)).unwrap();
    assert!(line.contains("a@other.example  0 tries, when other.example is tried again, in "), "{list}");
    for word in [&*id, FRIEND, "Friend@There.Example", "there.example"] {
        let list = town.done(&["list", word]);
        assert!(list.contains(&id) && !list.contains(&other), "{word}: {list}");
    }
    assert_eq!(town.done(&["list", "nobody.example"]), "Nothing waits\n");
    assert!(town.fails(&["list", "no such word"], 64).contains("neither a queue id"));

    let lines = json_lines(&town.ran(&["list", "--json", &id]));
    assert_eq!(lines[0]["queue"]["version"], 1);
    let waiting = lines[1]["waiting"].as_object().unwrap();
    let keys: Vec<&str> = waiting.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "arrived",
            "attempts",
            "closed",
            "held",
            "id",
            "next_attempt",
            "reason",
            "recipient",
            "sender",
            "size"
        ]
    );
    assert_eq!(lines[2]["total"]["recipients"], 1);

    let text = town.done(&["show", &id]);
    for said in ["for a friend", FRIEND, "pending", "1 try", "by the submission door"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(!text.contains("Hello."), "the body: {text}");
    let json = town.show(&id);
    assert_eq!(json["recipients"][0]["state"], "pending");
    assert_eq!(json["header"][0]["name"], "Subject");
    let message = town.done(&["show", &id, "--message"]);
    assert!(message.starts_with("Received: ") && message.ends_with("\r\n\r\nHello.\r\n"), "{message}");
    assert!(town.fails(&["show", "00000000000000000000"], 69).contains("no letter"));
    assert!(town.fails(&["show", "../x"], 64).contains("queue list"));
}

#[test]
fn a_running_server_takes_orders() {
    let town = Town::new();
    orders(&town);
    let late = town.deferred(FRIEND, "goes at once");
    town.sink.away(false);
    assert_eq!(town.done(&["retry"]), format!("{late} {FRIEND}: tried again now\n"));
    eventually("the letter at the sink", || (town.sink.count("goes at once") == 1).then_some(()));
    eventually("an empty queue", || town.is_empty().then_some(()));
}

#[test]
fn what_is_held_stays_until_it_is_released() {
    let town = Town::new();
    let held = town.deferred(FRIEND, "held");
    town.done(&["hold", FRIEND]);
    let beside = town.deferred("a@other.example", "beside it");
    town.sink.away(false);
    // Everything is what is not held.
    assert_eq!(town.done(&["retry"]), format!("{beside} a@other.example: tried again now\n"));
    eventually("the other letter", || (town.sink.count("beside it") == 1).then_some(()));
    assert!(town.fails(&["retry", &held], 75).contains("for 1 of 1 recipients"));
    assert_eq!(town.sink.count("Subject: held"), 0);
    assert_eq!(town.done(&["release", &held]), format!("{held} {FRIEND}: released, and tried now\n"));
    eventually("the letter that was held", || (town.sink.count("Subject: held") == 1).then_some(()));
}

#[test]
fn a_stopped_servers_queue_takes_the_same_orders() {
    let mut town = Town::new();
    let ids = [town.deferred(FRIEND, "later"), town.deferred("a@other.example", "goes at the start")];
    assert!(town.server.terminate().success());
    orders_on(&town, &ids[0]);
    town.done(&["retry", &ids[1]]);
    town.sink.away(false);
    town.server = town.server.again();
    eventually("the letter at the sink", || (town.sink.count("goes at the start") == 1).then_some(()));
}

/// Hold, drop and bounce, by whoever carries them out.
fn orders(town: &Town) {
    let id = town.deferred(FRIEND, "for orders");
    orders_on(town, &id);
    let dropped = town.deferred("dropped@there.example", "dropped");
    assert_eq!(
        town.done(&["drop", &dropped]),
        format!("{dropped} dropped@there.example: dropped; nobody is told\n")
    );
    assert!(town.is_empty());
    assert_eq!(town.reports("dropped@there.example"), 0);
}

fn orders_on(town: &Town, id: &str) {
    assert_eq!(town.done(&["hold", id]), format!("{id} {FRIEND}: held until it is released\n"));
    assert!(town.done(&["list", id]).contains("held"));
    for order in ["hold", "release", "drop", "bounce"] {
        assert!(town.fails(&[order], 64).contains("--all"));
        assert!(town.fails(&[order, "nobody.example"], 69).contains("nobody.example"));
    }
    assert_eq!(town.waiting(&[id]).len(), 1, "nothing happened to it");
    let output = town.ran(&["bounce", FRIEND, "nobody.example", "--json"]);
    assert_eq!(output.status.code(), Some(69), "{}", shown(&output));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["order"], "bounce");
    assert_eq!(said["done"][0]["recipient"], FRIEND);
    assert_eq!(said["missed"][0], "nobody.example");
    assert_eq!(town.waiting(&[id]).len(), 0);
    eventually("the report", || (town.reports(FRIEND) == 1).then_some(()));
}

#[test]
fn a_queue_that_is_locked_and_does_not_answer_is_left_alone() {
    let mut town = Town::new();
    let id = town.deferred(FRIEND, "locked");
    town.server.terminate();
    let lock = std::fs::File::options().write(true).open(town.server.state_dir().join("lock")).unwrap();
    lock.lock().unwrap();
    let said = town.fails(&["drop", "--all"], 75);
    assert!(said.contains("no server answers") && said.contains("another pillarbox"), "{said}");
    assert!(town.done(&["list"]).contains(&id), "looking needs no lock");
}

#[test]
fn a_damaged_entry_is_a_line_of_the_list() {
    let mut town = Town::new();
    let damaged = town.deferred(FRIEND, "damaged");
    let whole = town.deferred("a@other.example", "whole");
    town.server.terminate();
    damage(&town.server.state_dir().join("queue").join(&damaged));
    let list = town.done(&["list"]);
    let line = list.lines().find(|line| line.starts_with(&damaged)).unwrap();
    assert!(line.contains("damaged: "), "{list}");
    assert!(list.contains(&whole) && list.ends_with("; 1 letter cannot be read\n"), "{list}");
    assert!(town.fails(&["show", &damaged], 65).contains("damaged"));
    let lines = json_lines(&town.ran(&["list", "--json"]));
    assert_eq!(lines.iter().filter(|line| line["unreadable"]["id"] == *damaged).count(), 1);
}

/// Half of it is gone.
fn damage(entry: &Path) {
    let file = if entry.is_dir() { entry.join("message") } else { entry.to_owned() };
    let file = std::fs::File::options().write(true).open(file).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

#[test]
fn an_owner_sees_his_own_letters_and_nobody_elses() {
    let town = Town::new();
    let you = Home::new(&town.dns, YOU);
    you.use_server(&town.server);
    let mine = town.deferred(FRIEND, "mine");
    let yours = town.sent(&you, "b@other.example", "yours");
    let seen = |names: &[&str]| {
        let output = town.server.command(&[&["gate", "queue"], names].concat());
        assert!(output.status.success() && output.stderr.is_empty(), "{}", shown(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    for (names, sees_mine, sees_yours) in [
        (&[ME][..], true, false),
        (&[YOU], false, true),
        (&[TOPIC], false, false),
        (&["nobody@here.example"], false, false),
        (&["other.example"], false, false),
        (&["here.example"], true, true),
        (&[], true, true),
    ] {
        let text = seen(names);
        assert_eq!(text.contains(&mine), sees_mine, "{names:?}: {text}");
        assert_eq!(text.contains(FRIEND), sees_mine, "{names:?}: {text}");
        for trace in [&*yours, "other.example", YOU] {
            assert_eq!(text.contains(trace), sees_yours, "{names:?}: {text}");
        }
        assert!(text.lines().last().unwrap().starts_with("{\"total\":"), "{text}");
    }
    // A topic is its own alone; its owner sees it too.
    let from_topic = letter(TOPIC, FRIEND, "from the topic");
    let sent = town.home.command(&["sendmail", "-oi", "-f", TOPIC, FRIEND], &from_topic);
    assert!(sent.status.success() && sent.stderr.is_empty(), "{}", shown(&sent));
    for (names, letters) in [(TOPIC, 1), (ME, 2), (YOU, 1)] {
        let text = seen(&[names]);
        assert!(text.contains(&format!("{{\"total\":{{\"letters\":{letters},")), "{names}: {text}");
    }

    std::fs::write(
        you.config(),
        std::fs::read_to_string(you.config()).unwrap().replace("\"here.example\"", &format!("{YOU:?}")),
    )
    .unwrap();
    let listed = you.command(&["outbox", "list", "--server"], b"");
    let text = shown(&listed);
    assert!(listed.status.success() && text.contains("b@other.example"), "{text}");
    assert!(text.contains("deferred at here") && !text.contains(FRIEND), "{text}");
    let listed = you.command(&["outbox", "list", "--server", "--json"], b"");
    let json: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!((&json[0]["id"], &json[0]["server"]), (&yours.clone().into(), &"here".into()));
    assert_eq!(you.command(&["outbox", "list"], b"").stdout, b"The outbox is empty\n");
    // A server that cannot be asked is a failure, and the letters at home are shown all the same.
    let down = you.command(&["-o", "queue_via=[\"false\"]", "outbox", "list", "--server"], b"");
    assert_eq!(down.status.code(), Some(75), "{}", shown(&down));
    assert!(shown(&down).contains("not known") && shown(&down).contains("`false` ended"), "{}", shown(&down));
}

#[test]
fn the_socket_is_private_and_takes_no_nonsense() {
    let mut town = Town::new();
    let socket = town.server.state_dir().join("control.sock");
    assert_eq!(town.server.listening.control, socket);
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let id = town.deferred(FRIEND, "still there");
    let say = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The server may have heard enough before everything was said.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    };
    for nonsense in [
        &b""[..],
        b"\n",
        b"EHLO x\r\n",
        b"\xff\xfe\n",
        b"{\"control\":1,\"order\":\"drop\"}\n",
        b"{\"control\":1,\"order\":\"drop\",\"words\":[\"..\"]}\n",
        b"{\"control\":1,\"order\":\"drop\",\"all\":true}",
        b"{\"control\":9,\"order\":\"drop\",\"all\":true}\n",
    ] {
        let answer = say(nonsense);
        assert!(answer.starts_with("{\"fault\":") && answer.ends_with("}\n"), "{nonsense:?}: {answer}");
    }
    assert!(say(&vec![b'{'; 70 << 10]).starts_with("{\"fault\":"));
    // Those who say nothing take places; there are more than enough of the others' doors, and they do not last.
    let idle: Vec<UnixStream> = (0..20).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let said = eventually("a server that is busy", || {
        let output = town.ran(&["retry", &id]);
        (output.status.code() == Some(75)).then(|| shown(&output))
    });
    assert!(said.contains("too many at once"), "{said}");
    drop(idle);
    eventually("a place", || town.ran(&["hold", &id]).status.success().then_some(()));
    assert!(town.server.is_alive());
    assert_eq!(town.waiting(&[&id]).len(), 1);
}

#[test]
fn who_may_not_look_does_not_hear_that_nothing_waits() {
    let mut town = Town::new();
    town.deferred(FRIEND, "private");
    town.server.terminate();
    let closed = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(town.server.state_dir(), permissions).unwrap();
    };
    closed(0o000);
    // Root as well, without its right to override modes.
    let root: &[&str] = &["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
    let before = if nix::unistd::getuid().is_root() { root } else { &[] };
    for arguments in [&["list"][..], &["list", "--json"], &["retry"], &["drop", "--all"]] {
        let config = town.server.config();
        let words = [before, &[PILLARBOX, "--config", config.to_str().unwrap(), "queue"], arguments].concat();
        let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
        assert_eq!(output.status.code(), Some(77), "{arguments:?}: {}", shown(&output));
        assert!(shown(&output).contains("as root, or as the server's user"), "{}", shown(&output));
    }
    closed(0o700);
    assert_eq!(town.waiting(&[]).len(), 1);
}

#[test]
fn root_leaves_nothing_that_the_server_may_not_touch() {
    let mut town = Town::new();
    town.deferred(FRIEND, "for root");
    town.server.terminate();
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let root = town.server.root.path();
    let (uid, gid) = (nobody.uid, nobody.gid);
    as_root(&["chmod", "755", root.to_str().unwrap()]);
    as_root(&["chown", "-R", &format!("{uid}:{gid}"), town.server.state_dir().to_str().unwrap()]);
    as_root(&["chown", "-R", &format!("{uid}:{gid}"), root.join("mail").to_str().unwrap()]);
    let config = town.server.config();
    let config = config.to_str().unwrap();
    as_root(&[PILLARBOX, "--config", config, "queue", "hold", FRIEND]);
    as_root(&[PILLARBOX, "--config", config, "queue", "bounce", FRIEND]);
    as_root(&["chmod", "-R", "a+rX", root.to_str().unwrap()]);
    let mut seen = 0;
    let mut places = vec![town.server.state_dir(), root.join("mail")];
    while let Some(place) = places.pop() {
        let data = place.symlink_metadata().unwrap();
        assert_eq!(data.uid(), uid.as_raw(), "{}", place.display());
        seen += 1;
        if data.is_dir() {
            places.extend(std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    assert!(seen > 10);
    assert_eq!(town.reports(FRIEND), 1);
    let me = format!("{}:{}", nix::unistd::getuid(), nix::unistd::getgid());
    as_root(&["chown", "-R", &me, root.to_str().unwrap()]);
}

fn as_root(words: &[&str]) {
    let sudo: &[&str] = if nix::unistd::getuid().is_root() { &[] } else { &["sudo", "-n"] };
    let words = [sudo, words].concat();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", shown(&output));
}
