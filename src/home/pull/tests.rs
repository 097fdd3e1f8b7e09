use super::journal::{Intent, IntentLetter, Key, MailboxId};
use super::report::{Outcome, Progress};
use super::*;
use crate::net::export::{FrameReader, FromHome, FromServer, LetterHead};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const ONE: &str = "11111111111111111111111111111111";
const TWO: &str = "22222222222222222222222222222222";

/// A gate that says what it was told to say.
struct Gate(Vec<u8>, u64);

impl Gate {
    fn of(server: &str, labels: &[&str]) -> Gate {
        let hello = FromServer::Hello { version: 1, server: server.into(), hostname: "mx".into() };
        let mut gate = Gate(Vec::new(), 0).say(hello);
        for label in labels {
            gate = gate.say(FromServer::Mailbox { label: (*label).into(), letters: 1, octets: 1 });
        }
        gate.say(FromServer::Listed)
    }

    fn say(mut self, frame: FromServer<'_>) -> Gate {
        frame.write_to(&mut self.0).unwrap();
        self
    }

    fn begin(mut self, mailbox: u32, name: &str, size: usize) -> Gate {
        let (base, flags) = name.split_once(":2,").map_or((name, None), |(base, flags)| (base, Some(flags)));
        let head = LetterHead {
            number: self.1,
            mailbox,
            size: size as u64,
            in_cur: flags.is_some(),
            base: base.into(),
            flags: flags.unwrap_or_default().into(),
        };
        self.1 += 1;
        self.say(FromServer::Letter(head))
    }

    fn letter(self, mailbox: u32, name: &str, text: &str) -> Gate {
        let begun = self.begin(mailbox, name, text.len()).say(FromServer::Chunk(text.as_bytes()));
        begun.say(FromServer::Whole(sha256(text)))
    }

    fn bye(self) -> Gate {
        self.say(FromServer::Sent).say(FromServer::Bye)
    }

    /// What the session ended with, and which letters were acknowledged.
    fn pulled_by(&self, home: &mut Home) -> (Outcome, Vec<u64>) {
        let mut said = Vec::new();
        let (outcome, _) = session::exchange(home, &self.0[..], &mut said, &[], Progress::new("test"));
        let mut frames = FrameReader::new(&said[..]);
        let mut kept = Vec::new();
        while let Ok(frame) = frames.home_frame() {
            if let FromHome::Kept(numbers) = frame {
                kept.extend(numbers);
            }
        }
        (outcome, kept)
    }
}

fn sha256(text: &str) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest.as_ref().try_into().unwrap()
}

fn config(mail: &Path) -> config::Home {
    config::Home { mail: mail.to_owned(), ..config::Home::default() }
}

fn home(mail: &Path) -> Home {
    Home::open(&config(mail)).unwrap()
}

/// All letters below `mail`: path and text.
fn letters(mail: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut directories = vec![mail.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.file_name().unwrap() != "journal" {
                let name = path.strip_prefix(mail).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn only_what_was_asked_for_can_be_unknown() {
    let mail = tempfile::tempdir().unwrap();
    let gate = Gate::of(ONE, &[]).say(FromServer::Unknown("me@example.org".into())).bye();
    let mut home = home(mail.path());
    let (outcome, _) = gate.pulled_by(&mut home);
    assert!(outcome.failure.unwrap().message.contains("not asked for"));
    let asked = ["me@example.org".to_owned()];
    let (outcome, _) = session::exchange(&mut home, &gate.0[..], Vec::new(), &asked, Progress::new("test"));
    assert!(outcome.failure.is_none() && outcome.troubles.is_empty(), "{outcome:?}");
    assert_eq!(outcome.unknown, asked);
}

#[test]
fn letters_come_home_with_place_name_and_flags() {
    let mail = tempfile::tempdir().unwrap();
    let gate = Gate::of(ONE, &["example.org/me", "example.org/me/topic"])
        .letter(0, "1.a", "first")
        .letter(0, "2.a:2,FS", "second")
        .letter(1, "3.a:2,", "")
        .bye();
    let (outcome, kept) = gate.pulled_by(&mut home(mail.path()));
    assert!(outcome.failure.is_none() && outcome.troubles.is_empty(), "{outcome:?}");
    assert_eq!(kept, [0, 1, 2]);
    let expected = [
        ("example.org/me/cur/2.a:2,FS", "second"),
        ("example.org/me/new/1.a", "first"),
        ("example.org/me/topic/cur/3.a:2,", ""),
    ];
    assert_eq!(letters(mail.path()), expected.map(|(name, text)| (name.into(), text.into())));
    assert_eq!(outcome.mailboxes[0].address, "me@example.org");
    assert_eq!((outcome.mailboxes[0].letters, outcome.mailboxes[0].octets), (2, 11));
    assert_eq!(fs::metadata(mail.path().join("example.org/me/new/1.a")).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn what_was_acknowledged_in_vain_is_acknowledged_again_and_not_doubled() {
    let mail = tempfile::tempdir().unwrap();
    let gate = Gate::of(ONE, &["example.org/me"]).letter(0, "1.a", "first").bye();
    gate.pulled_by(&mut home(mail.path()));
    fs::rename(mail.path().join("example.org/me/new/1.a"), mail.path().join("example.org/me/cur/1.a:2,S"))
        .unwrap();
    for _ in 0..2 {
        let (outcome, kept) = gate.pulled_by(&mut home(mail.path()));
        assert!(outcome.failure.is_none());
        assert_eq!(kept, [0]);
        assert_eq!((outcome.mailboxes[0].letters, outcome.mailboxes[0].again), (0, 1));
        assert_eq!(letters(mail.path()).len(), 1);
    }
    // Once more within one session, as a letter that a reader moves during the listing may be seen.
    let twice = Gate::of(ONE, &["example.org/me"]).letter(0, "2.a", "two").letter(0, "2.a:2,S", "two").bye();
    let (_, kept) = twice.pulled_by(&mut home(mail.path()));
    assert_eq!(kept.len(), 2);
    assert_eq!(letters(mail.path()).len(), 2);
}

#[test]
fn another_letter_of_the_same_name_gets_a_name_of_its_own() {
    let mail = tempfile::tempdir().unwrap();
    let mut home = home(mail.path());
    for (server, text) in [(ONE, "same"), (TWO, "same"), (ONE, "other")] {
        let gate = Gate::of(server, &["example.org/me"]).letter(0, "1.a,S=4", text).bye();
        assert_eq!(gate.pulled_by(&mut home).1, [0]);
    }
    let letters = letters(mail.path());
    assert_eq!(letters.iter().filter(|(_, text)| text == "same").count(), 2);
    assert_eq!(letters.iter().filter(|(_, text)| text == "other").count(), 1);
    assert!(letters.iter().all(|(name, _)| name.ends_with(",S=4")));
}

#[test]
fn a_name_that_is_none_stays_on_the_server_and_the_rest_comes() {
    let mail = tempfile::tempdir().unwrap();
    let labels = ["example.org/me", "../../etc", "example.org/me/new", "a/b/c/d", "example.org/.ssh", "x"];
    let gate = Gate::of(ONE, &labels)
        .letter(0, "../../../evil", "evil")
        .letter(0, ".evil", "evil")
        .letter(1, "evil", "evil")
        .letter(2, "evil", "evil")
        .letter(3, "evil", "evil")
        .letter(4, "evil", "evil")
        .letter(5, "evil", "evil")
        .letter(0, "1.a", "good")
        .bye();
    let (outcome, kept) = gate.pulled_by(&mut home(mail.path()));
    assert_eq!(kept, [7]);
    assert_eq!(outcome.troubles.len(), 7, "{:?}", outcome.troubles);
    assert_eq!(letters(mail.path()), [("example.org/me/new/1.a".into(), "good".into())]);
}

#[test]
fn a_letter_that_does_not_match_its_digest_is_not_taken() {
    let mail = tempfile::tempdir().unwrap();
    let gate = Gate::of(ONE, &["example.org/me"])
        .letter(0, "1.a", "good")
        .begin(0, "2.a", 3)
        .say(FromServer::Chunk(b"bad"))
        .say(FromServer::Whole(sha256("good")))
        .bye();
    let (outcome, kept) = gate.pulled_by(&mut home(mail.path()));
    assert!(outcome.failure.unwrap().message.contains("digest"));
    assert_eq!(kept, [0]);
    assert_eq!(letters(mail.path()).len(), 1);
}

#[test]
fn a_gate_that_breaks_off_leaves_whole_letters_and_nothing_else() {
    let mail = tempfile::tempdir().unwrap();
    let gate = Gate::of(ONE, &["example.org/me"])
        .letter(0, "1.a", "good")
        .begin(0, "2.a", 9)
        .say(FromServer::Chunk(b"half"));
    let (outcome, kept) = gate.pulled_by(&mut home(mail.path()));
    assert_eq!(outcome.failure.unwrap().exit, Exit::TempFail);
    assert_eq!(kept, [0]);
    assert_eq!(letters(mail.path()), [("example.org/me/new/1.a".into(), "good".into())]);
}

#[test]
fn a_letter_dropped_by_the_gate_is_forgotten_and_said() {
    let mail = tempfile::tempdir().unwrap();
    let gate = Gate::of(ONE, &["example.org/me"])
        .begin(0, "1.a", 9)
        .say(FromServer::Chunk(b"half"))
        .say(FromServer::Dropped("it\u{1b}[2Jchanged".into()))
        .letter(0, "2.a", "good")
        .bye();
    let (outcome, kept) = gate.pulled_by(&mut home(mail.path()));
    assert!(outcome.failure.is_none());
    assert_eq!(outcome.troubles, ["it?[2Jchanged"]);
    assert_eq!(kept, [1]);
    assert_eq!(letters(mail.path()).len(), 1);
}

#[test]
fn frames_out_of_order_end_the_session() {
    let hello = || FromServer::Hello { version: 1, server: ONE.into(), hostname: "mx".into() };
    let bad = [
        Gate(Vec::new(), 0).say(FromServer::Listed),
        Gate(Vec::new(), 0).say(FromServer::Hello { version: 2, server: ONE.into(), hostname: "mx".into() }),
        Gate(Vec::new(), 0).say(FromServer::Hello {
            version: 1,
            server: "../x".into(),
            hostname: "mx".into(),
        }),
        Gate(Vec::new(), 0).say(hello()).say(hello()),
        Gate(Vec::new(), 0).say(hello()).letter(0, "1.a", "x"),
        Gate::of(ONE, &["example.org/me"]).say(FromServer::Bye),
        Gate::of(ONE, &["example.org/me"]).say(FromServer::Chunk(b"x")),
        Gate::of(ONE, &["example.org/me"]).say(FromServer::Whole([0; 32])),
        Gate::of(ONE, &["example.org/me"]).letter(1, "1.a", "x"),
        Gate::of(ONE, &["example.org/me"]).begin(0, "1.a", 2).letter(0, "2.a", "x"),
        Gate::of(ONE, &["example.org/me"]).begin(0, "1.a", 0).say(FromServer::Chunk(b"x")),
        Gate::of(ONE, &["example.org/me"]).say(FromServer::Sent).letter(0, "1.a", "x"),
        Gate::of(ONE, &["example.org/me"]).say(FromServer::Mailbox {
            label: "a/b".into(),
            letters: 0,
            octets: 0,
        }),
    ];
    for (index, gate) in bad.into_iter().enumerate() {
        let mail = tempfile::tempdir().unwrap();
        // The order is what ends it, not that the script is over.
        let (outcome, kept) = gate.bye().pulled_by(&mut home(mail.path()));
        assert!(outcome.failure.is_some(), "script {index}");
        assert!(kept.is_empty() && letters(mail.path()).is_empty(), "script {index}");
    }
}

#[test]
fn the_servers_word_that_it_removed_a_letter_does_not_make_it_be_at_home() {
    let mail = tempfile::tempdir().unwrap();
    let gate = Gate::of(ONE, &["example.org/me"])
        .begin(0, "1.a", 4)
        .say(FromServer::Dropped(String::new()))
        .say(FromServer::Removed(vec![0, 1, 99]))
        .bye();
    gate.pulled_by(&mut home(mail.path()));
    let gate = Gate::of(ONE, &["example.org/me"]).letter(0, "1.a", "text").bye();
    assert_eq!(gate.pulled_by(&mut home(mail.path())).0.mailboxes[0].letters, 1);
}

#[test]
fn one_pull_at_a_time() {
    let mail = tempfile::tempdir().unwrap();
    let first = home(mail.path());
    let failure = Home::open(&config(mail.path())).err().unwrap();
    assert!(failure.exit == Exit::TempFail && failure.message.contains("another pull"), "{failure}");
    drop(first);
    home(mail.path());
}

/// A home that was interrupted after it noted its intent for `1.a` with the text "text".
fn interrupted(mail: &Path) -> Key {
    let mut home = home(mail);
    let maildir = home.places.maildir(&mail.join("example.org/me")).unwrap();
    let staging = home.places.staging_for(&maildir).unwrap();
    fs::write(staging.path.join("staged"), "text").unwrap();
    fs::write(staging.path.join("fragment"), "te").unwrap();
    let mailbox = MailboxId::new(ONE, "example.org/me");
    let key = Key::new(mailbox, "1.a", &sha256("text"));
    let letter = IntentLetter { key, staged: "staged".into(), target: "new/1.a".into() };
    let intent = Intent {
        mailbox,
        staging: staging.path.clone(),
        inode: staging.inode,
        maildir: maildir.path.clone(),
        letters: vec![letter],
    };
    home.journal.intend(vec![intent]).unwrap();
    key
}

#[test]
fn recovery_finishes_what_was_intended_and_sweeps_the_rest() {
    let mail = tempfile::tempdir().unwrap();
    interrupted(mail.path());
    let mut home = home(mail.path());
    assert_eq!(letters(mail.path()), [("example.org/me/new/1.a".into(), "text".into())]);
    let gate = Gate::of(ONE, &["example.org/me"]).letter(0, "1.a", "text").bye();
    let (outcome, kept) = gate.pulled_by(&mut home);
    assert_eq!((outcome.mailboxes[0].again, &kept[..]), (1, &[0][..]));
    assert_eq!(letters(mail.path()).len(), 1);
}

#[test]
fn recovery_takes_a_letter_that_is_gone_from_staging_for_done() {
    let mail = tempfile::tempdir().unwrap();
    interrupted(mail.path());
    // It appeared, and its reader deleted it.
    fs::remove_file(mail.path().join(".pillarbox/staging/staged")).unwrap();
    let gate = Gate::of(ONE, &["example.org/me"]).letter(0, "1.a", "text").bye();
    assert_eq!(gate.pulled_by(&mut home(mail.path())).1, [0]);
    assert!(letters(mail.path()).is_empty());
}

#[test]
fn recovery_knows_a_letter_that_has_both_names_after_a_power_cut() {
    let mail = tempfile::tempdir().unwrap();
    interrupted(mail.path());
    let moved_on = mail.path().join("example.org/me/cur/1.a:2,S");
    fs::hard_link(mail.path().join(".pillarbox/staging/staged"), &moved_on).unwrap();
    home(mail.path());
    assert_eq!(letters(mail.path()), [("example.org/me/cur/1.a:2,S".into(), "text".into())]);
}

#[test]
fn recovery_puts_nothing_over_another_letter() {
    let mail = tempfile::tempdir().unwrap();
    interrupted(mail.path());
    fs::write(mail.path().join("example.org/me/new/1.a"), "another").unwrap();
    home(mail.path());
    let mut texts: Vec<String> = letters(mail.path()).into_iter().map(|(_, text)| text).collect();
    texts.sort();
    assert_eq!(texts, ["another", "text"]);
}

#[test]
fn recovery_concludes_nothing_from_a_staging_directory_that_is_not_there() {
    let mail = tempfile::tempdir().unwrap();
    interrupted(mail.path());
    let staging = mail.path().join(".pillarbox/staging");
    fs::rename(&staging, mail.path().join("unmounted")).unwrap();
    for _ in 0..2 {
        let failure = Home::open(&config(mail.path())).err().unwrap();
        assert!(failure.exit == Exit::TempFail && failure.message.contains("mount"), "{failure}");
    }
    fs::remove_dir(&staging).unwrap();
    fs::rename(mail.path().join("unmounted"), &staging).unwrap();
    home(mail.path());
    assert_eq!(letters(mail.path()), [("example.org/me/new/1.a".into(), "text".into())]);
}

#[test]
fn a_gate_that_complains_for_ever_fills_no_memory() {
    let mail = tempfile::tempdir().unwrap();
    let mut gate = Gate::of(ONE, &["example.org/me"]);
    for _ in 0..1500 {
        gate = gate.say(FromServer::Trouble("\u{1b}[2J\u{202e}".repeat(1000)));
    }
    let (outcome, _) = gate.bye().pulled_by(&mut home(mail.path()));
    assert!(outcome.failure.is_none());
    assert_eq!(outcome.troubles.len(), 1001);
    assert!(outcome.troubles.iter().all(|text| text.len() < 600 && !text.contains(['\u{1b}', '\u{202e}'])));
    let (outcome, _) = Gate::of(ONE, &[&"a".repeat(1025)]).bye().pulled_by(&mut home(mail.path()));
    assert!(outcome.failure.unwrap().message.contains("the name of a mailbox"));
}
