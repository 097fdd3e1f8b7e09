//! Pulls by the real binary through a local pipe, killed at any system call on either side and run again: no letter is
//! lost, none comes twice.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PILLARBOX: &str = env!("CARGO_BIN_EXE_pillarbox");
const MAILBOXES: [&str; 3] = ["example.org/me", "example.org/me/topic", "example.net/you"];

/// A server and a home in one directory.
struct World {
    directory: tempfile::TempDir,
    random: u64,
}

impl World {
    fn new(seed: u64, letters: usize) -> World {
        let world = World { directory: tempfile::tempdir().unwrap(), random: seed };
        world.add(0..letters);
        let config =
            format!("mail_root = {:?}\nstate_dir = {:?}\n", world.path("server"), world.path("state"));
        fs::write(world.path("server.toml"), config).unwrap();
        world
    }

    /// Letters come in at the server.
    fn add(&self, numbers: Range<usize>) {
        for index in numbers {
            let place = if index % 5 == 0 { ("cur", ":2,S") } else { ("new", "") };
            let maildir = self.server(MAILBOXES[index % MAILBOXES.len()]);
            fs::create_dir_all(maildir.join(place.0)).unwrap();
            // Many letters have the same content: a digest is not what tells them apart.
            let text = format!("Subject: {}\r\n\r\n{}", index % 7, "text\r\n".repeat(index % 300));
            fs::write(maildir.join(place.0).join(format!("17000{index:05}.M1P1.mx{}", place.1)), text)
                .unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn server(&self, label: &str) -> PathBuf {
        self.path("server").join(label)
    }

    fn pull(&self, home: &[String], gate: &[String]) -> Output {
        let words = |words: &[String], more: &[&str]| -> Vec<String> {
            words.iter().cloned().chain(more.iter().map(|word| word.to_string())).collect()
        };
        let server = self.path("server.toml");
        let gate = words(gate, &[PILLARBOX, "--config", server.to_str().unwrap(), "gate", "export"]);
        let config = format!("mail = {:?}\nserver = \"s\"\npull_via = {gate:?}\n", self.path("home"));
        fs::write(self.path("home.toml"), config).unwrap();
        let toml = self.path("home.toml");
        let home = words(home, &[PILLARBOX, "--config", toml.to_str().unwrap(), "pull"]);
        Command::new(&home[0]).args(&home[1..]).output().expect("strace must be installed")
    }

    /// Numbers that look random and are the same in every run.
    fn random(&mut self, below: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    /// A command that kills what follows at the n-th call of something.
    fn killer(&mut self) -> Vec<String> {
        let calls = ["fsync", "renameat2", "write", "unlinkat", "openat", "read", "mkdirat"];
        let call = calls[self.random(calls.len() as u64) as usize];
        let when = 1 + self.random(if matches!(call, "fsync" | "mkdirat") { 40 } else { 200 });
        let inject = format!("inject={call}:signal=KILL:when={when}");
        ["strace", "-f", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject]
            .map(String::from)
            .to_vec()
    }

    /// A mail reader on both sides: new letters become old ones.
    fn read_some(&mut self) {
        for side in ["server", "home"] {
            for label in MAILBOXES {
                let maildir = self.path(side).join(label);
                for name in names(&maildir.join("new")) {
                    if self.random(4) == 0 {
                        fs::create_dir_all(maildir.join("cur")).unwrap();
                        let read = maildir.join("cur").join(format!("{name}:2,S"));
                        fs::rename(maildir.join("new").join(&name), read).unwrap();
                    }
                }
            }
        }
    }

    /// Base name by mailbox → how often, and the contents by it.
    fn letters(&self, side: &str) -> BTreeMap<(String, String), Vec<String>> {
        let mut found: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for label in MAILBOXES {
            for place in ["new", "cur"] {
                let directory = self.path(side).join(label).join(place);
                for name in names(&directory) {
                    let base = name.split(':').next().unwrap().to_owned();
                    let text = fs::read_to_string(directory.join(&name)).unwrap();
                    found.entry((label.to_owned(), base)).or_default().push(text);
                }
            }
        }
        found
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Kills until a pull survives or `rounds` are over, then lets one through and compares.
fn none_lost_none_doubled(seed: u64, letters: usize, rounds: usize, kill_home: bool) {
    let mut world = World::new(seed, letters);
    let before = world.letters("server");
    assert_eq!(before.len(), letters);
    let mut killed = 0;
    for _ in 0..rounds {
        let killer = world.killer();
        let output = if kill_home { world.pull(&killer, &[]) } else { world.pull(&[], &killer) };
        killed += usize::from(!output.status.success());
        world.read_some();
    }
    assert!(killed > 0, "nothing was killed: the test tests nothing");
    // A gate that outlives its home for a moment may still be removing letters.
    let output = world.pull(&[], &[]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(world.letters("home"), before, "after {killed} kills");
    assert!(world.letters("server").is_empty());
    assert!(names(&world.path("home/.pillarbox/staging")).is_empty());
}

#[test]
fn home_killed_at_any_call_loses_nothing_and_doubles_nothing() {
    for seed in 0..2 {
        none_lost_none_doubled(seed, 1_000, 12, true);
    }
}

#[test]
fn the_gate_killed_at_any_call_loses_nothing_and_doubles_nothing() {
    for seed in 10..12 {
        none_lost_none_doubled(seed, 1_000, 8, false);
    }
}

/// A command that kills what follows in front of the n-th call of `call` on `path` by one thread.
fn killer(call: &str, path: Option<&Path>, n: usize) -> Vec<String> {
    let inject = format!("inject={call}:signal=KILL:when={n}");
    let mut words = ["strace", "-f", "-o", "/dev/null", "-e", &inject].map(String::from).to_vec();
    words.extend(path.into_iter().flat_map(|path| ["-P".to_owned(), path.to_str().unwrap().to_owned()]));
    words
}

/// The steps of docs/states.md one by one, by the directory or file that each of them is about.
#[test]
fn killed_in_front_of_each_step_on_either_side() {
    let world = World::new(1, 30);
    assert!(world.pull(&[], &[]).status.success());
    let mut all = world.letters("home");
    let mut count = 30;
    let maildir = "example.org/me";
    let at_home = |name: &str| Some(world.path("home").join(name));
    let (journal, staging) = (at_home(".pillarbox/journal"), at_home(".pillarbox/staging"));
    let (new, cur) = (at_home(&format!("{maildir}/new")), at_home(&format!("{maildir}/cur")));
    let (server_new, server_cur) =
        (Some(world.server(maildir).join("new")), Some(world.server(maildir).join("cur")));
    let mut steps: Vec<(bool, &str, &Option<PathBuf>, usize)> = Vec::new();
    let mut add = |home: bool, call: &'static str, path, most: usize| {
        steps.extend((1..=most).map(|n| (home, call, path, n)));
    };
    add(true, "openat", &staging, 2);
    add(true, "fsync", &staging, 2);
    add(true, "write", &journal, 2);
    add(true, "fsync", &journal, 2);
    add(true, "renameat2", &staging, 2);
    add(true, "fsync", &new, 1);
    add(true, "fsync", &cur, 1);
    add(false, "unlinkat", &server_new, 2);
    add(false, "unlinkat", &server_cur, 1);
    add(false, "fsync", &server_new, 1);
    add(false, "fsync", &server_cur, 1);
    for (home, call, path, n) in steps {
        let step = format!("{} {call} {path:?} {n}", if home { "home" } else { "gate" });
        world.add(count..count + 30);
        count += 30;
        all.append(&mut world.letters("server"));
        let killer = killer(call, path.as_deref(), n);
        let output = if home { world.pull(&killer, &[]) } else { world.pull(&[], &killer) };
        assert!(!output.status.success(), "{step}: nothing was killed");
        // Recovery may be killed as well.
        if home {
            world.pull(&killer, &[]);
        }
        let output = world.pull(&[], &[]);
        assert!(output.status.success(), "{step}: {output:?}");
        assert_eq!(world.letters("home"), all, "{step}");
        assert!(world.letters("server").is_empty(), "{step}");
        assert!(names(&world.path("home/.pillarbox/staging")).is_empty(), "{step}");
    }
}

/// Mail readers at work while letters are pulled: at the server letters become old ones, at home they do and some are
/// deleted for good.
#[test]
fn readers_on_both_sides_lose_and_double_nothing() {
    let mut world = World::new(7, 1_000);
    let before = world.letters("server");
    let kills: Vec<_> = (0..6).map(|_| world.killer()).collect();
    let (server, home) = (world.path("server"), world.path("home"));
    let pulled = AtomicBool::new(false);
    let deleted = std::thread::scope(|scope| {
        let readers = [server, home.clone()].map(|side| {
            let (pulled, home) = (&pulled, &home);
            scope.spawn(move || read(&side, side == *home, pulled))
        });
        for (index, kill) in kills.iter().enumerate() {
            match index % 2 {
                0 => world.pull(kill, &[]),
                _ => world.pull(&[], kill),
            };
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        while !world.letters("server").is_empty() {
            assert!(Instant::now() < deadline, "{:?}", world.pull(&[], &[]));
            world.pull(&[], &[]);
        }
        pulled.store(true, Ordering::SeqCst);
        readers.map(|reader| reader.join().unwrap())
    });
    let mut found = world.letters("home");
    for (key, text) in deleted.into_iter().flatten() {
        found.entry(key).or_default().push(text);
    }
    assert_eq!(found, before);
}

/// Moves letters from new/ to cur/, with a flag; with `delete` some are removed, and returned.
fn read(side: &Path, delete: bool, end: &AtomicBool) -> Vec<((String, String), String)> {
    let mut deleted = Vec::new();
    while !end.load(Ordering::SeqCst) {
        for label in MAILBOXES {
            let (new, cur) = (side.join(label).join("new"), side.join(label).join("cur"));
            for (index, name) in names(&new).into_iter().enumerate() {
                let to = cur.join(format!("{name}:2,S"));
                // The pull may have been first.
                if !cur.is_dir() || fs::rename(new.join(&name), &to).is_err() {
                    continue;
                }
                if delete && index % 3 == 0 {
                    let text = fs::read_to_string(&to).unwrap();
                    fs::remove_file(&to).unwrap();
                    deleted.push(((label.to_owned(), name), text));
                }
            }
        }
        std::thread::yield_now();
    }
    deleted
}

#[test]
fn two_pulls_at_once_and_ctrl_c() {
    let world = World::new(3, 300);
    let all = world.letters("server");
    // A gate that gets stuck in the middle of the letters.
    let stuck = world.path("stuck");
    let script = format!(
        "{PILLARBOX} --config {} gate export | {{ head -c 30000; touch {}; exec sleep 600; }}",
        world.path("server.toml").display(),
        stuck.display()
    );
    let config =
        format!("mail = {:?}\nserver = \"s\"\npull_via = [\"sh\", \"-c\", {script:?}]\n", world.path("home"));
    fs::write(world.path("slow.toml"), config).unwrap();
    let mut slow = Command::new(PILLARBOX);
    slow.arg("--config").arg(world.path("slow.toml")).arg("pull").process_group(0);
    let mut slow = slow.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !stuck.exists() {
        assert!(Instant::now() < deadline, "the gate was not started");
        std::thread::sleep(Duration::from_millis(5));
    }
    let second = world.pull(&[], &[]);
    assert_eq!(second.status.code(), Some(75));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("another pull is running"), "{said}");
    assert_eq!(world.letters("server"), all);
    let group = rustix::process::Pid::from_raw(slow.id().cast_signed()).unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::INT).unwrap();
    assert_eq!(slow.wait().unwrap().signal(), Some(2));
    let output = world.pull(&[], &[]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(world.letters("home"), all);
    assert!(world.letters("server").is_empty());
}

#[test]
fn a_letter_that_is_put_back_on_the_server_is_not_lost() {
    let world = World::new(5, 30);
    let all = world.letters("server");
    assert!(world.pull(&[], &[]).status.success());
    let label = MAILBOXES[0];
    let from = world.path("home").join(label).join("new");
    for name in names(&from) {
        fs::rename(from.join(&name), world.server(label).join("new").join(&name)).unwrap();
    }
    // A server that delivers a copy again after a crash: this one is at home.
    let there = MAILBOXES[1];
    let at_home = world.path("home").join(there).join("new");
    let twice = names(&at_home).remove(0);
    fs::copy(at_home.join(&twice), world.server(there).join("new").join(&twice)).unwrap();
    let output = world.pull(&[], &[]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(world.letters("home"), all);
    assert!(world.letters("server").is_empty());
}

#[test]
fn a_hook_that_fails_fails_no_pull() {
    let world = World::new(1, 3);
    let toml = world.path("home.toml");
    world.pull(&[], &[]);
    let config = fs::read_to_string(&toml).unwrap();
    fs::write(&toml, format!("after_pull = [\"false\"]\n{config}")).unwrap();
    world.add(3..6);
    let output = Command::new(PILLARBOX).arg("--config").arg(&toml).arg("pull").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("after_pull: false: exit status: 1 (the letters are safe)"), "{said}");
    assert_eq!(world.letters("home").len(), 6);
}

#[test]
fn a_server_that_is_not_there_does_not_stop_the_others() {
    let world = World::new(1, 10);
    world.pull(&[], &[]);
    let letter = world.server("example.org/me").join("new/late");
    fs::write(&letter, "late").unwrap();
    let script = format!(
        "test $0 = good || exit 255; exec {PILLARBOX} --config {} gate export",
        world.path("server.toml").display()
    );
    let via = ["sh", "-c", &script, "{server}"];
    let hook = world.path("hook");
    let config = format!(
        "mail = {:?}\nserver = [\"bad\", \"good\"]\npull_via = {via:?}\nafter_pull = [\"sh\", \"-c\", \"echo $PILLARBOX_LETTERS $PILLARBOX_MAILDIRS > {}\"]\n",
        world.path("home"),
        hook.display(),
    );
    fs::write(world.path("two.toml"), config).unwrap();
    let pull =
        || Command::new(PILLARBOX).arg("--config").arg(world.path("two.toml")).arg("pull").output().unwrap();
    let output = pull();
    assert_eq!(output.status.code(), Some(75));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("bad") && stderr.contains("255"), "{stderr}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "1 letter for me@example.org (4 B), 0 left\n");
    assert!(!letter.exists());
    let hooked = fs::read_to_string(&hook).unwrap();
    assert_eq!(hooked.trim_end(), format!("1 {}", world.path("home/example.org/me").display()));
    fs::remove_file(&hook).unwrap();
    assert!(pull().stdout.is_empty(), "quiet when nothing came");
    assert!(!hook.exists());
}

#[test]
fn an_address_that_no_server_has_is_67_and_one_that_cannot_be_looked_up_is_75() {
    let world = World::new(1, 6);
    world.pull(&[], &[]);
    let second = world.path("second");
    fs::create_dir_all(second.join("example.com/me/new")).unwrap();
    let config = format!("mail_root = {second:?}\nstate_dir = {:?}\n", world.path("second.state"));
    fs::write(world.path("second.toml"), config).unwrap();
    let script = format!("exec {PILLARBOX} --config {}/$0.toml gate export", world.path("").display());
    let via = ["sh", "-c", &script, "{server}"];
    let home = world.path("home");
    let config = format!("mail = {home:?}\nserver = [\"server\", \"second\"]\npull_via = {via:?}\n");
    fs::write(world.path("two.toml"), config).unwrap();
    let pull = |address: &str| {
        let config = world.path("two.toml");
        let arguments = ["--config", config.to_str().unwrap(), "pull", "--json", address];
        let output = Command::new(PILLARBOX).args(arguments).output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), report, String::from_utf8(output.stderr).unwrap())
    };
    let (exit, report, said) = pull("nobody@example.org");
    assert_eq!((exit, &report["ok"]), (Some(67), &false.into()), "{said}");
    assert_eq!(report["servers"][1]["unknown"][0], "nobody@example.org");
    assert!(said.contains("no server has such an address: nobody@example.org"), "{said}");
    // One of the two has it: that is enough.
    for address in ["me@example.org", "me@example.com"] {
        let (exit, report, said) = pull(address);
        assert_eq!((exit, &report["ok"], said.as_str()), (Some(0), &true.into(), ""), "{address}");
    }
    // Whoever cannot look does not know.
    fs::rename(&second, world.path("unmounted")).unwrap();
    let (exit, report, said) = pull("nobody@example.org");
    assert_eq!((exit, &report["ok"]), (Some(75), &false.into()), "{said}");
}

#[test]
fn the_key_decides_what_is_seen_whatever_the_client_asks_for() {
    let world = World::new(1, 30);
    let gate = |arguments: &[&str], asked: Option<&str>| {
        let mut command = Command::new(PILLARBOX);
        command.arg("--config").arg(world.path("server.toml")).arg("gate").args(arguments);
        command.env_remove("SSH_ORIGINAL_COMMAND");
        command.envs(asked.map(|asked| ("SSH_ORIGINAL_COMMAND", asked)));
        command.output().unwrap()
    };
    let refused = gate(&["example.org"], Some("sh -c id"));
    assert_eq!(refused.status.code(), Some(77));
    assert!(refused.stdout.is_empty());
    assert_eq!(gate(&["example.org"], None).status.code(), Some(64));
    let config = format!(
        "mail = {:?}\nserver = \"s\"\npull_via = [\"env\", \"SSH_ORIGINAL_COMMAND=gate you@example.net export\", {PILLARBOX:?}, \"--config\", {:?}, \"gate\", \"me@example.org\"]\n",
        world.path("home"),
        world.path("server.toml"),
    );
    fs::write(world.path("confined.toml"), config).unwrap();
    let pull = |addresses: &[&str]| {
        let mut command = Command::new(PILLARBOX);
        command.arg("--config").arg(world.path("confined.toml")).arg("pull").arg("--json").args(addresses);
        command.output().unwrap()
    };
    let output = pull(&["you@example.net"]);
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    let output = pull(&[]);
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["letters"], &report["ok"]), (&20.into(), &true.into()));
    assert!(!world.path("home/example.net").exists());
    assert_eq!(
        names(&world.server("example.net/you/new")).len() + names(&world.server("example.net/you/cur")).len(),
        10
    );
}
