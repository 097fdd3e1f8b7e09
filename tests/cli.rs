//! The command line of the real binary.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn pillarbox(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pillarbox"))
        .args(arguments)
        .env_remove("PILLARBOX_CONFIG")
        .output()
        .unwrap()
}

fn at(place: &Path, arguments: &[&str]) -> Output {
    let option = format!("mail={}", place.join("mail").display());
    pillarbox(&[&["-o", &option], arguments].concat())
}

#[test]
fn a_wrong_line_is_64_and_one_line_on_stderr() {
    let output = pillarbox(&["pull", "--nonsense"]);
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("pillarbox: ") && said.lines().count() == 1, "{said}");
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(pillarbox(&["queue"]).stderr).unwrap();
    assert_eq!(said, "pillarbox: a command is missing; `pillarbox queue --help` lists them\n");
}

#[test]
fn a_wrong_configuration_is_78() {
    let output = pillarbox(&["-o", "nonsense=1", "key", "list"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8(output.stderr).unwrap().contains("nonsense"));
}

#[test]
fn help_shows_an_example_for_every_command() {
    for line in [
        "try",
        "serve",
        "gate",
        "address add",
        "address list",
        "address remove",
        "key new",
        "key show",
        "key list",
        "sendmail",
        "pull",
        "flush",
        "sync",
        "outbox list",
        "queue list",
        "queue show",
        "queue retry",
        "queue hold",
        "queue release",
        "queue drop",
        "queue bounce",
        "completions",
    ] {
        let words: Vec<&str> = line.split(' ').chain(["--help"]).collect();
        let output = pillarbox(&words);
        assert!(output.status.success(), "{line}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            said.contains("Example: pillarbox ") || said.contains("command=\"pillarbox gate"),
            "{line}: {said}"
        );
    }
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let line = format!("{} completions bash | head -n 1", env!("CARGO_BIN_EXE_pillarbox"));
    let output = Command::new("bash").args(["-o", "pipefail", "-c", &line]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn keys_are_private_and_never_overwritten() {
    let place = tempfile::tempdir().unwrap();
    let made = at(place.path(), &["key", "new", "me@here.example"]);
    assert!(made.status.success(), "{made:?}");
    let file = place.path().join("mail/me@here.example-dkim.pem");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(place.path().join("mail/me.ed25519@here.example-dkim.pem").exists());
    let before = std::fs::read(&file).unwrap();

    let again = at(place.path(), &["key", "new", "me@here.example"]);
    assert_eq!(again.status.code(), Some(73));
    assert_eq!(std::fs::read(&file).unwrap(), before);
    let left: Vec<_> = std::fs::read_dir(place.path().join("mail")).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn key_show_prints_what_key_new_printed() {
    let place = tempfile::tempdir().unwrap();
    let made = at(place.path(), &["key", "new", "Me@Here.example", "--selector", "laptop"]);
    let shown = at(
        place.path(),
        &["-o", "addresses.\"me@here.example\".keys=[\"laptop\"]", "key", "show", "me@here.example"],
    );
    assert!(made.status.success() && shown.status.success(), "{made:?} {shown:?}");
    let made = String::from_utf8(made.stdout).unwrap();
    let record = made.lines().find(|line| line.starts_with("laptop._domainkey.here.example. ")).unwrap();
    assert!(String::from_utf8(shown.stdout).unwrap().contains(record));
    assert!(made.contains("pillarbox address add laptop@here.example --alias-of me@here.example"), "{made}");
}

#[test]
fn a_name_that_is_no_selector_asks_for_one() {
    let place = tempfile::tempdir().unwrap();
    for (arguments, exit) in [
        (vec!["key", "new", "jörg@here.example"], 64),
        (vec!["key", "new", "a+b@here.example"], 64),
        (vec!["key", "new", "../a@here.example"], 64),
        (vec!["key", "new", "me@here.example", "--selector", "../x"], 64),
        (vec!["key", "show", "nobody@here.example"], 78),
    ] {
        assert_eq!(at(place.path(), &arguments).status.code(), Some(exit), "{arguments:?}");
    }
    assert!(!place.path().join("mail").exists());
}

#[test]
fn behind_sshd_the_environment_names_no_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("letter.toml");
    std::fs::write(&file, "not = a configuration").unwrap();
    let gate = |asked: Option<&str>, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pillarbox"));
        command.arg("-o").arg(format!("state_dir={}", directory.path().display())).arg("gate");
        command.args(arguments).env("PILLARBOX_CONFIG", &file).env_remove("SSH_ORIGINAL_COMMAND");
        command.envs(asked.map(|asked| ("SSH_ORIGINAL_COMMAND", asked))).output().unwrap()
    };
    assert_eq!(gate(None, &["submit", "example.org"]).status.code(), Some(78));
    let forced = gate(Some("pillarbox gate submit"), &["example.org"]);
    assert_eq!(forced.status.code(), Some(75), "{forced:?}");
    assert!(String::from_utf8(forced.stderr).unwrap().contains("the server is not running"));
}

#[test]
fn a_list_of_addresses_is_never_empty_without_a_word() {
    let top = tempfile::tempdir().unwrap();
    let (root, state) = (top.path().join("mail"), top.path().join("state"));
    std::fs::create_dir_all(root.join("example.org")).unwrap();
    let list = |domain: &[&str]| {
        let root = format!("mail_root={}", root.display());
        let state = format!("state_dir={}", state.display());
        pillarbox(&[&["-o", &root, "-o", &state, "address", "list"], domain].concat())
    };
    let bare = list(&[]);
    assert!(bare.status.success(), "{bare:?}");
    assert!(String::from_utf8(bare.stdout).unwrap().contains("address add"));
    let strange = list(&["example.net"]);
    assert_eq!(strange.status.code(), Some(69));
    assert!(String::from_utf8(strange.stderr).unwrap().contains("example.net is no domain here"));
}
