use super::*;
use crate::home::fake::{Fake, Place};
use crate::mail::address::{Address, Domain};
use crate::mail::envelope::{Envelope, Recipient, ReversePath, Sender};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const LETTER: &[u8] = b"From: me@example.org\r\n\r\nx\r\n";

fn record(created: i64) -> Record {
    let sender = Sender::new(ReversePath::Address(Address::parse("me@example.org").unwrap()));
    let recipients = vec![Recipient::new(Address::parse("a@example.net").unwrap())];
    let envelope = Envelope { sender, recipients };
    let domain = Domain::parse("example.org").unwrap();
    let nonce = crate::trust::seal::nonce().unwrap();
    Record::new(envelope, nonce, ("me", &domain), LETTER.len() as u64, created)
}

/// Puts a letter in and lets it go; its name.
fn put(config: &config::Home, created: i64) -> String {
    Outbox::at(&config.outbox).store(record(created), LETTER.to_vec()).unwrap().id.clone()
}

fn flushed(config: &config::Home, only: &[String]) -> (Option<Exit>, String) {
    let mut told = String::new();
    let ended = flush(config, only, &mut |tried| told += &format!("{tried}\n"));
    (ended.err().map(|failure| failure.exit), told)
}

#[test]
fn a_letter_is_kept_as_it_was_and_for_nobody_else_to_read() {
    let place = Place::new();
    let config = place.home(&[]);
    let outbox = Outbox::at(&config.outbox);
    let mut entry = outbox.store(record(7), LETTER.to_vec()).unwrap();
    entry.record.said = Some("later".into());
    entry.record.bound = Some("mx".into());
    entry.save().unwrap();
    let (id, kept) = (entry.id.clone(), entry.record.clone());
    drop(entry);
    let Taken::Entry(taken) = outbox.take(&id).unwrap() else { panic!("not taken") };
    assert_eq!((&taken.record, taken.letter.as_slice()), (&kept, LETTER));
    let mode = |path: std::path::PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(config.outbox.clone()), 0o700);
    assert_eq!(mode(config.outbox.join(&id)), 0o700);
    for file in ["letter", "record.json", "lock"] {
        assert_eq!(mode(config.outbox.join(&id).join(file)), 0o600, "{file}");
    }
    taken.remove().unwrap();
    assert_eq!(fs::read_dir(&config.outbox).unwrap().count(), 0);
}

#[test]
fn a_letter_that_somebody_submits_is_left_alone() {
    let place = Place::new();
    let fake = Fake::start(&[]);
    let config = place.home(&[&fake]);
    let held = Outbox::at(&config.outbox).store(record(1), LETTER.to_vec()).unwrap();
    assert_eq!(flushed(&config, &[]), (None, String::new()));
    assert!(fake.is_unheard());
    drop(held);
    let (exit, told) = flushed(&config, &[]);
    assert!(exit.is_none() && told.contains(": sent: "), "{told}");
}

#[test]
fn two_flushes_at_once_send_each_letter_once() {
    let place = Place::new();
    let fake = Fake::start(&[]);
    let config = place.home(&[&fake]);
    for created in 0..6 {
        put(&config, created);
    }
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| flush(&config, &[], &mut |_| {}).unwrap());
        }
    });
    let mut nonces: Vec<String> = (0..6).map(|_| fake.heard().nonce()).collect();
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), 6);
    assert!(fake.is_unheard());
    assert_eq!(list(&config).unwrap(), []);
}

#[test]
fn what_a_server_refuses_stays_until_its_owner_says_so() {
    let place = Place::new();
    let fake = Fake::start(&[("RCPT", "550 5.1.1 no such address")]);
    let config = place.home(&[&fake]);
    let (refused, _) = (put(&config, 1), ());
    let (exit, told) = flushed(&config, &[]);
    assert_eq!(exit, Some(Exit::NoUser));
    assert!(told.contains("no such address"), "{told}");
    fake.heard();
    let listed = list(&config).unwrap();
    assert_eq!((listed[0].state, listed[0].tries), ("refused", 1));
    assert!(listed[0].said.as_ref().unwrap().contains("no such address"));

    assert_eq!(flushed(&config, &[]), (None, String::new()));
    assert!(fake.is_unheard(), "a plain flush leaves it alone");
    fake.set(&[]);
    assert_eq!(flushed(&config, &["another".into()]).0, Some(Exit::Usage));
    assert_eq!(flushed(&config, &[refused]).0, None);
    assert_eq!(list(&config).unwrap(), []);
}

#[test]
fn a_server_that_is_not_there_is_asked_once_for_all_letters() {
    let place = Place::new();
    let (silent, good) = (Fake::start(&[("", "CLOSE")]), Fake::start(&[]));
    let config = place.home(&[&silent, &good]);
    for created in 0..3 {
        put(&config, created);
    }
    assert_eq!(flushed(&config, &[]).0, None);
    silent.heard();
    assert!(silent.is_unheard());
    assert_eq!(list(&config).unwrap(), []);
}

#[test]
fn what_cannot_be_read_is_set_aside_with_a_message_and_the_rest_goes_on() {
    let place = Place::new();
    let fake = Fake::start(&[]);
    let config = place.home(&[&fake]);
    let (broken, torn, bare) = (put(&config, 1), put(&config, 2), put(&config, 3));
    put(&config, 4);
    fs::write(config.outbox.join(&broken).join("record.json"), "{\"version\":1,").unwrap();
    fs::write(config.outbox.join(&torn).join("letter"), "short").unwrap();
    fs::remove_file(config.outbox.join(&bare).join("letter")).unwrap();
    let (exit, told) = flushed(&config, &[]);
    assert_eq!(exit, Some(Exit::DataErr));
    assert_eq!(told.matches("set aside as").count(), 3, "{told}");
    assert_eq!(told.matches(": sent: ").count(), 1, "{told}");
    let listed = list(&config).unwrap();
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().all(|letter| letter.state == "damaged"), "{listed:?}");
    assert_eq!(flushed(&config, &[]), (None, String::new()));
}

#[test]
fn a_newer_pillarboxs_letter_is_not_touched() {
    let place = Place::new();
    let config = place.home(&[&Fake::start(&[])]);
    let id = put(&config, 1);
    let file = config.outbox.join(&id).join("record.json");
    let newer = fs::read_to_string(&file).unwrap().replace("\"version\": 1", "\"version\": 2");
    fs::write(&file, &newer).unwrap();
    let (exit, told) = flushed(&config, &[]);
    assert_eq!(exit, Some(Exit::TempFail));
    assert!(told.contains("version 2"), "{told}");
    assert_eq!(fs::read_to_string(&file).unwrap(), newer);
}

#[test]
fn a_lost_key_keeps_the_letter() {
    let place = Place::new();
    let fake = Fake::start(&[]);
    let config = place.home(&[&fake]);
    put(&config, 1);
    fs::remove_file(config.mail.join("me@example.org-dkim.pem")).unwrap();
    let (exit, told) = flushed(&config, &[]);
    assert_eq!(exit, Some(Exit::Config));
    assert!(told.contains("me@example.org-dkim.pem"), "{told}");
    assert_eq!(list(&config).unwrap().len(), 1);
}

#[test]
fn what_crashes_leave_is_swept() {
    let place = Place::new();
    let config = place.home(&[]);
    let id = put(&config, 1);
    let outbox = Outbox::at(&config.outbox);
    for name in [".new-1", ".gone-2"] {
        fs::create_dir(config.outbox.join(name)).unwrap();
        fs::write(config.outbox.join(name).join("letter"), "x").unwrap();
    }
    assert_eq!(list(&config).unwrap().len(), 1);
    outbox.sweep(SystemTime::now());
    assert!(config.outbox.join(".new-1").exists(), "its writer may be alive");
    assert!(!config.outbox.join(".gone-2").exists());
    outbox.sweep(SystemTime::now() + Duration::from_secs(7200));
    assert!(!config.outbox.join(".new-1").exists());
    assert_eq!(outbox.ids().unwrap(), [id]);
}

#[test]
fn a_list_for_people_and_one_for_programs() {
    let place = Place::new();
    let config = place.home(&[]);
    assert_eq!(list(&config).unwrap(), []);
    let id = put(&config, 1_795_362_804);
    let listed = list(&config).unwrap();
    let line = listed[0].to_string();
    assert!(line.contains(&id) && line.contains("me@example.org to a@example.net"), "{line}");
    assert!(line.contains("2026-11-2") && line.ends_with("waiting"), "{line}");
    let json = serde_json::to_value(&listed).unwrap();
    assert_eq!(json[0]["recipients"][0], "a@example.net");
    assert_eq!(json[0]["state"], "waiting");
}
