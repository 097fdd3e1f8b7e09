//! The owner's filter, through the real server: what it is told, what its verdict does, what it cannot reach, and that no
//! letter is lost by it.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

mod harness;

use harness::filters::{Filtered, LETTER, runs};
use harness::wire::Wire;
use harness::{PATIENCE, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Instant;

const FRIEND: &str = "friend@there.example";
const ME: &str = "me@here.example";

#[test]
fn the_letter_and_the_evidence_come_whole() {
    let filtered = Filtered::by("env | sort >\"$OUT/env\"; cat >\"$OUT/letter\"; pwd >\"$OUT/pwd\"");
    let mut wire = filtered.wire();
    let to = [ME, "you@here.example"];
    // Not UTF-8, a NUL being refused: every octet that may be in a body.
    let body: Vec<u8> = (1..=255).filter(|octet| !b"\r\n".contains(octet)).collect();
    let letter = [LETTER.as_bytes(), &body, b"\r\n.dot\r\n\r\n"].concat();
    let reply = wire.transact(FRIEND, &to, &letter);
    assert!(reply.starts_with("250"), "{reply}");
    let told = filtered.told("env");
    let id = reply.rsplit(' ').next().unwrap();
    for line in [
        &format!("PILLARBOX_ID={id}"),
        "PILLARBOX_FROM=friend@there.example",
        "PILLARBOX_TO=me@here.example\nyou@here.example\n",
        "PILLARBOX_IP=127.0.0.1\n",
        "PILLARBOX_HELO=mx.there.example\n",
        "PILLARBOX_HOSTNAME=mx.here.example\n",
        "PILLARBOX_VERDICT=accept\n",
        &format!("PILLARBOX_SIZE={}\n", letter.len()),
        "HOME=/\n",
    ] {
        let sorted: Vec<&str> = line.trim_end().lines().collect();
        assert!(sorted.iter().all(|line| told.lines().any(|known| known == *line)), "{line} in:\n{told}");
    }
    // And nothing of the server's own, such as PILLARBOX_LOG.
    let known = ["PILLARBOX_", "PATH=", "LANG=", "HOME=", "PWD=", "OLDPWD=", "SHLVL=", "_=", "OUT="];
    for line in told.lines().filter(|line| line.contains('=')) {
        assert!(known.iter().any(|known| line.starts_with(known)), "{line}");
    }
    assert!(!told.contains("PILLARBOX_LOG"), "{told}");
    assert_eq!(filtered.told("pwd"), "/\n");
    let got = filtered.read("letter");
    assert!(got.ends_with(&letter), "{}", String::from_utf8_lossy(&got));
    assert!(String::from_utf8_lossy(&got).starts_with("Authentication-Results: mx.here.example;"));
}

#[test]
fn the_status_decides_and_the_fields_are_added() {
    let filtered = Filtered::by(
        "case $(cat) in
         *is-spam*) echo 'X-Spam: yes'; printf 'X-Long: a\\n\\tb\\n'; echo 'Received: from nowhere'; exit 1;;
         *is-virus*) echo 'there is a virus in it'; echo 'X-Not: here'; exit 77;;
         *is-slow*) echo 'greylisted'; exit 75;;
         *) printf 'X-Spam: no\\r\\n'; echo 'Authentication-Results: mx.here.example; dkim=pass'; exit 0;;
         esac",
    );
    let mut wire = filtered.wire();
    let mut send = |word: &str| wire.transact(FRIEND, &[ME], format!("{LETTER}{word}\r\n").as_bytes());
    assert!(send("fine").starts_with("250"));
    let letters = filtered.server.letters("here.example/me");
    assert!(letters.len() == 1 && letters[0].contains("\nX-Spam: no\r\n"), "{letters:?}");
    assert!(!letters[0].contains("dkim=pass"), "{letters:?}");
    assert_eq!(send("is-virus"), "550 5.7.1 there is a virus in it");
    let slow = send("is-slow");
    assert!(slow.starts_with("451 4.7.1 ") && !slow.contains("greylisted"), "{slow}");
    assert_eq!(filtered.server.letters("here.example/me").len(), 1);
    assert!(send("is-spam").starts_with("250"));
    let junk: Vec<String> =
        [filtered.server.letters("here.example/me"), filtered.server.letters("here.example/me/junk")]
            .concat()
            .into_iter()
            .filter(|letter| letter.contains("is-spam"))
            .collect();
    assert!(junk.len() == 1 && junk[0].contains("\nX-Spam: yes\r\nX-Long: a\r\n\tb\r\n"), "{junk:?}");
    assert!(!junk[0].contains("from nowhere"), "{junk:?}");
    filtered.logged("greylisted");
    filtered.logged("may not add a field of this name");
}

#[test]
fn a_broken_filter_puts_letters_off_and_says_why() {
    for (script, why) in [
        ("echo 'no rules: oh dear' >&2; echo more >&2; exit 3", "ended with status 3"),
        ("kill -9 $$", "ended by signal 9"),
        ("exec /nowhere/at/all", "status 127"),
        ("head -c 20000 /dev/zero; sleep 1000", "more than 16 KiB"),
        ("yes 'X-Spam: no'", "more than 16 KiB"),
    ] {
        let filtered = Filtered::by(script);
        let reply = filtered.wire().transact(FRIEND, &[ME], LETTER.as_bytes());
        assert!(reply.starts_with("451 4.7.1 "), "{script}: {reply}");
        filtered.logged(why);
        if script.contains("oh dear") {
            filtered.logged("no rules: oh dear");
        }
        assert_eq!(filtered.server.letters("here.example/me").len(), 0, "{script}");
    }
    let program = tempfile::Builder::new().tempfile_in("/tmp").unwrap().into_temp_path();
    std::fs::copy("/bin/true", &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = program.display().to_string();
    let filtered = Filtered::with(&[&path, "x"], "");
    program.close().unwrap();
    // So large that the helper answers before it has it all.
    let letter = format!("{LETTER}{}", "a line of a large letter\r\n".repeat(100_000));
    let reply = filtered.wire().transact(FRIEND, &[ME], letter.as_bytes());
    assert!(reply.starts_with("451 4.7.1 "), "{reply}");
    filtered.logged(&format!("cannot run {path}"));
}

#[test]
fn a_program_that_cannot_be_run_is_no_start() {
    let refused = |command: &str| Filtered::refused(command, "", &[]);
    assert!(refused("/nowhere/at/all").contains("name a program that is there"));
    assert!(refused("no-such-program").contains("in PATH"));
    assert!(refused("/etc/passwd").contains("chmod 755"));
    // What the modes allow and the confinement does not.
    let script =
        "chmod 755 {root}; mkdir -m 755 {root}/mail; install -m 755 /bin/true {root}/mail; exec \"$@\"";
    let text = Filtered::refused("{root}/mail/true", "", &["sh", "-ec", script, "sh"]);
    assert!(text.contains("outside mail_root") || text.contains("name a program that is there"), "{text}");
}

#[test]
fn a_program_can_neither_end_nor_stop_its_helper() {
    let script = "kill -KILL $PPID; kill -STOP $PPID; :";
    for filtered in [Filtered::by(script), Filtered::unprivileged(script)] {
        for _ in 0..3 {
            let reply = filtered.wire().transact(FRIEND, &[ME], LETTER.as_bytes());
            assert!(reply.starts_with("250"), "{reply}");
        }
    }
}

#[test]
fn a_program_cannot_give_the_helper_of_a_server_that_root_started_limits() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let filtered = Filtered::by("prlimit --pid $PPID --nofile=5:5 2>\"$OUT/said\"; :");
    for _ in 0..3 {
        let reply = filtered.wire().transact(FRIEND, &[ME], LETTER.as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
    }
    assert!(filtered.told("said").contains("not permitted"), "{}", filtered.told("said"));
}

#[test]
fn a_filter_need_not_read_the_letter() {
    let filtered = Filtered::by("exec <&-; echo 'X-Read: no'");
    let letter = format!("{LETTER}{}", "a line of a large letter\r\n".repeat(200_000));
    let reply = filtered.wire().transact(FRIEND, &[ME], letter.as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
    assert!(filtered.server.letters("here.example/me")[0].contains("X-Read: no\r\n"));
}

#[test]
fn a_large_letter_flows_through() {
    let filtered = Filtered::by("cksum >\"$OUT/sum\"");
    let letter = format!("{LETTER}{}", "a line of a large letter\r\n".repeat(200_000));
    let reply = filtered.wire().transact(FRIEND, &[ME], letter.as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
    let told = filtered.told("sum");
    let octets: usize = told.split(' ').nth(1).unwrap().trim().parse().unwrap();
    // Our own fields stand on top.
    assert!(octets > letter.len() && octets < letter.len() + 1000, "{told}");
}

#[test]
fn time_out_ends_the_program_and_what_it_started() {
    let script = "sleep 1000 & echo stuck >&2; trap '' TERM; wait";
    let filtered = Filtered::by_with(script, "filter_timeout = 1\n");
    let begun = Instant::now();
    let mut wire = filtered.wire();
    std::thread::scope(|scope| {
        let reply = scope.spawn(|| wire.transact(FRIEND, &[ME], LETTER.as_bytes()));
        eventually("the program", || filtered.is_running().then_some(()));
        let reply = reply.join().unwrap();
        assert!(reply.starts_with("451 4.7.1 "), "{reply}");
    });
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    filtered.logged("did not end within 1 seconds");
    filtered.logged("stuck");
    eventually("their end", || (!filtered.is_running()).then_some(()));
}

#[test]
fn what_a_program_leaves_behind_is_ended_with_it() {
    let filtered = Filtered::by("sleep 1000 & exit 0");
    let begun = Instant::now();
    assert!(filtered.wire().transact(FRIEND, &[ME], LETTER.as_bytes()).starts_with("250"));
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    eventually("its end", || (!filtered.is_running()).then_some(()));
}

#[test]
fn nothing_that_has_ended_stays_behind() {
    let script = "sh -c 'sleep 1000 & sleep 1000' & setsid sleep 0.1 & exit 0";
    for filtered in [Filtered::by(script), Filtered::unprivileged(script)] {
        for _ in 0..3 {
            assert!(filtered.wire().transact(FRIEND, &[ME], LETTER.as_bytes()).starts_with("250"));
        }
        let left = || filtered.children_of_helper();
        eventually("their ends", || left().is_empty().then_some(()));
    }
}

#[test]
fn a_few_run_at_once_and_the_others_wait() {
    let filtered = Filtered::by(
        "mkdir \"$OUT/run.$$\"; ls -d \"$OUT\"/run.* | wc -l >\"$OUT/count.$$\"
         [ \"$(ls -d \"$OUT\"/run.* | wc -l)\" -gt 1 ] || sleep 0.3
         sleep 0.2; rmdir \"$OUT/run.$$\"",
    );
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                assert!(filtered.wire().transact(FRIEND, &[ME], LETTER.as_bytes()).starts_with("250"))
            });
        }
    });
    assert_eq!(filtered.server.letters("here.example/me").len(), 50);
    let counts: Vec<usize> =
        filtered.files("count.").iter().map(|text| text.trim().parse().unwrap()).collect();
    assert_eq!(counts.len(), 50);
    assert_eq!(counts.iter().max(), Some(&4), "{counts:?}");
}

#[test]
fn who_goes_away_keeps_no_place_for_longer_than_others() {
    let filtered =
        Filtered::by_with("grep -q linger || exit 0; : >\"$OUT/runs.$$\"; sleep 1000", "filter_timeout = 2");
    let lingering: Vec<Wire> = (0..6)
        .map(|_| {
            let mut wire = filtered.wire();
            wire.ask(&format!("MAIL FROM:<{FRIEND}>"), "250");
            wire.ask(&format!("RCPT TO:<{ME}>"), "250");
            wire.ask("DATA", "354");
            wire.message(format!("{LETTER}linger\r\n").as_bytes());
            wire
        })
        .collect();
    eventually("four programs", || (filtered.files("runs.").len() == 4).then_some(()));
    drop(lingering);
    let begun = Instant::now();
    assert!(filtered.wire().transact(FRIEND, &[ME], LETTER.as_bytes()).starts_with("250"));
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    eventually("their end", || (!filtered.is_running()).then_some(()));
    assert_eq!(filtered.server.letters("here.example/me").len(), 1);
}

#[test]
fn where_no_namespace_of_numbers_is_allowed_it_runs_without() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let without = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"];
    let filtered = Filtered::under(":", &without);
    assert!(filtered.wire().transact(FRIEND, &[ME], LETTER.as_bytes()).starts_with("250"));
    filtered.logged("could end its helper");
}

/// The ways to the mail that a program could try; each prints what it found, and nothing else is to be found.
const PROWL: &str = r#"
exec 2>>"$OUT/errors"
for tree in "$MAIL" "$STATE" "$LINK" /proc/$SERVER/root"$MAIL" /proc/$SERVER/root"$STATE" /proc/$SERVER/cwd \
    /proc/self/root"$MAIL" "$MAIL/../mail" "/proc/$PPID/root$MAIL"; do
    ls "$tree" && echo "listed $tree"
    ls "$tree/here.example" && echo "listed $tree/here.example"
    cat "$tree/here.example/me/new/secret" && echo "read $tree"
    cat "$tree/mail_root" "$tree/listening.json" && echo "read state by $tree"
    mkdir "$tree/made" && echo "made in $tree"
    true >"$tree/here.example/me/new/secret" && echo "emptied in $tree"
    rm -r "$tree/here.example" && echo "removed in $tree"
    mv "$tree/here.example" "$OUT/moved" && echo "moved from $tree"
    ln "$tree/here.example/me/new/secret" "$OUT/linked" && echo "linked from $tree"
    ln -s "$tree" "$OUT/soft" && cat "$OUT/soft/here.example/me/new/secret" && echo "followed to $tree"
    rm -f "$OUT/soft"
    chmod 777 "$tree" && [ "$tree" != "/proc/$SERVER/cwd" ] && echo "changed the mode of $tree"
    truncate -s 0 "$tree/here.example/me/new/secret" && echo "truncated in $tree"
done
for file in /proc/$SERVER/fd/*; do readlink "$file" && echo "named a file of the server's"; done
cat /proc/$SERVER/fd/* && echo 'read the server files'
cat "/proc/$SERVER/environ" && echo 'read the server environment'
for helper in $(grep -la '^[^[:cntrl:]]*.filter-helper' /proc/[0-9]*/cmdline); do
    helper=${helper%/cmdline}
    ls "$helper/fd/" && echo 'listed the helper files'
    (exec 3<"$helper/mem") && echo 'read the helper memory'
    (exec 3>"$helper/mem") && echo 'wrote the helper memory'
done
for knob in oom_score_adj autogroup coredump_filter clear_refs; do
    (exec 3>"/proc/$SERVER/$knob") && echo "could set $knob of the server's"
done
kill -0 "$SERVER" && echo 'could signal the server'
prlimit --pid "$SERVER" --nofile=4096:4096 && echo 'limited the server'
renice -n 5 -p "$SERVER" && echo 'slowed the server down'
umount "$MAIL" && echo 'uncovered the mail'
mount --bind / /mnt && echo 'mounted'
for socket in submission control; do
    python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])' "$STATE/$socket.sock" &&
        echo "connected to $socket"
done
unshare -Urm sh -c 'umount -l "$MAIL"; cat "$MAIL/here.example/me/new/secret"' && echo 'uncovered in a namespace'
find /* -xdev -name secret -path '*/new/*' | grep . && echo 'found the secret'
readlink /proc/self/fd/* | grep -vE '^(pipe:|/proc/|'"$OUT"'|/dev/null)' | grep . && echo 'inherited files'
echo prowled
"#;

/// A server whose filter prowls; what it found.
fn prowled(filtered: Filtered, prepare: impl Fn(&Filtered)) {
    let secret = filtered.server.maildir("here.example/me/new/secret");
    std::fs::create_dir_all(secret.parent().unwrap()).unwrap();
    std::fs::write(&secret, "for the owner's eyes").unwrap();
    prepare(&filtered);
    symlink(filtered.server.maildir(""), filtered.out().join("link")).unwrap();
    let script = format!(
        "MAIL={} STATE={} LINK=$OUT/link SERVER={}; export MAIL STATE\n(\n{PROWL}) >\"$OUT/found\"; true",
        filtered.server.maildir("").display().to_string().trim_end_matches('/'),
        filtered.server.state_dir().display(),
        filtered.server.pid(),
    );
    filtered.rewrite(&script);
    let reply = filtered.wire().transact(FRIEND, &[ME], LETTER.as_bytes());
    assert!(reply.starts_with("250"), "{reply}\n{}", filtered.told("errors"));
    assert_eq!(filtered.told("found"), "prowled\n", "errors:\n{}", filtered.told("errors"));
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "for the owner's eyes");
}

#[test]
fn the_filter_of_a_server_that_root_started_has_no_way_to_the_mail() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // The modes would do alone; without them Landlock must.
    let inherits = ["sh", "-c", "exec 7<{root}/server.toml; exec \"$@\"", "sh"];
    prowled(Filtered::under(":", &inherits), Filtered::open_to_all);
}

#[test]
fn the_filter_of_a_server_that_its_own_user_started_has_no_way_to_the_mail() {
    prowled(Filtered::unprivileged(":"), Filtered::own);
}

#[test]
fn relative_paths_are_closed_where_the_server_means_them() {
    let here = ["sh", "-c", "cd {root}; exec \"$@\" -o mail_root=mail -o state_dir=state", "sh"];
    prowled(Filtered::under(":", &here), Filtered::open_to_all);
}

#[test]
fn the_server_ends_when_the_helper_does() {
    for mut filtered in [Filtered::by(":"), Filtered::unprivileged(":")] {
        assert!(filtered.wire().transact(FRIEND, &[ME], LETTER.as_bytes()).starts_with("250"));
        signal(filtered.helper(), Signal::KILL);
        assert_eq!(filtered.server.wait().code(), Some(70));
        filtered.logged("the filter's helper has ended");
    }
}

#[test]
fn the_helper_outlives_what_ends_it_and_goes_with_the_server() {
    let script = "grep -q linger && sleep 1000; :";
    for mut filtered in [Filtered::by(script), Filtered::unprivileged(script)] {
        assert!(filtered.wire().transact(FRIEND, &[ME], LETTER.as_bytes()).starts_with("250"));
        let helper = filtered.helper();
        // As systemd tells all of a service.
        for number in [Signal::TERM, Signal::INT, Signal::HUP] {
            signal(helper, number);
        }
        assert!(filtered.wire().transact(FRIEND, &[ME], LETTER.as_bytes()).starts_with("250"));
        let mut wire = filtered.wire();
        wire.ask(&format!("MAIL FROM:<{FRIEND}>"), "250");
        wire.ask(&format!("RCPT TO:<{ME}>"), "250");
        wire.ask("DATA", "354");
        wire.message(format!("{LETTER}linger\r\n").as_bytes());
        eventually("the program", || filtered.is_running().then_some(()));
        filtered.server.kill();
        eventually("the helper's end", || (!runs(helper)).then_some(()));
        eventually("the program's end", || (!filtered.is_running()).then_some(()));
    }
}

fn signal(pid: u32, number: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), number).unwrap();
}

#[test]
fn a_filter_that_cannot_be_confined_is_no_start() {
    let started = |more: &str| {
        let text = Filtered::refused("/bin/true", more, &[]);
        assert!(text.contains("inbound.filter"), "{text}");
        text
    };
    assert!(started("filter_timeout = 0").contains("1 to 55 seconds"));
    assert!(started("filter_timeout = 56").contains("1 to 55 seconds"));
    if rustix::process::geteuid().is_root() {
        assert!(started("filter_user = \"root\"").contains("neither root"));
        assert!(started("filter_user = \"no-such-user\"").contains("useradd"));
    }
    // A kernel without Landlock (ENOSYS is what it says), by strace's hand.
    let text = Filtered::refused(
        "/bin/true",
        "",
        &["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=landlock_create_ruleset:error=ENOSYS"],
    );
    assert!(text.contains("needs Landlock") && text.contains("remove inbound.filter"), "{text}");
}

#[test]
fn mounts_that_lead_to_the_mail_by_another_path_are_closed_too() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mounted = ["sh", "-ec", "mkdir /mnt/again && mount --bind {root} /mnt/again && exec \"$@\"", "sh"];
    let unshared = [&["unshare", "-m", "--propagation", "private"][..], &mounted].concat();
    let filtered = Filtered::under(":", &unshared);
    let secret = filtered.server.maildir("here.example/me/new/secret");
    std::fs::create_dir_all(secret.parent().unwrap()).unwrap();
    std::fs::File::create(&secret).unwrap().write_all(b"secret").unwrap();
    filtered.open_to_all();
    filtered.rewrite("cat /mnt/again/mail/here.example/me/new/secret >\"$OUT/found\"; ls /mnt/again/state >>\"$OUT/found\"; cat /mnt/again/server.toml >\"$OUT/beside\"; :");
    let reply = filtered.wire().transact(FRIEND, &[ME], LETTER.as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(filtered.told("found"), "");
    assert!(filtered.told("beside").contains("hostname"));
    std::fs::remove_dir("/mnt/again").unwrap();
}
