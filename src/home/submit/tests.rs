use super::*;
use crate::home::fake::Place;
use crate::home::keyring::Keyring;
use crate::mail::envelope::{Recipient, ReversePath, Sender};
use std::time::Instant;

fn submit(submitter: &mut Submitter, place: &Place) -> Verdict {
    let sender = Address::parse("me@example.org").unwrap();
    let config = place.home(&[]);
    let key = Keyring::new(&config).pick(&sender).unwrap().remove(0);
    let recipients = vec![Recipient::new(Address::parse("a@example.net").unwrap())];
    let envelope = Envelope { sender: Sender::new(ReversePath::Address(sender)), recipients };
    let letter = b"From: me@example.org\r\n\r\nx\r\n";
    let nonce = "0".repeat(32);
    let record = Record::new(envelope, nonce, (&key.selector, &key.domain), letter.len() as u64, 1);
    let letter = Letter { record: &record, bytes: letter, key: &key, bind: &|_| Ok(()) };
    submitter.submit(&letter, &mut io::sink())
}

fn command(words: &[&str], place: &Place) -> Submitter {
    let words = words.iter().map(|word| word.to_string()).collect();
    Submitter::new(&config::Home { submit_via: Via::Command(words), ..place.home(&[]) }).unwrap()
}

#[test]
fn a_server_that_does_not_greet_is_left() {
    let place = Place::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}", silent.local_addr().unwrap());
    let config = config::Home { submit_via: Via::Url(url), ..place.home(&[]) };
    let mut submitter = Submitter::new(&config).unwrap();
    assert_eq!(submitter.patience, PATIENCE.0);
    submitter.patience = Duration::from_millis(50);
    let begun = Instant::now();
    let Verdict::Waits { why, bound: None } = submit(&mut submitter, &place) else { panic!() };
    assert!(why.contains("did not greet"), "{why}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_commands_last_words_are_the_reason() {
    let place = Place::new();
    let mut submitter = command(&["sh", "-c", "echo Permission denied, really >&2; exit 255"], &place);
    let Verdict::Waits { why, bound: None } = submit(&mut submitter, &place) else { panic!() };
    assert!(why.contains("Permission denied, really"), "{why}");
    let Verdict::Waits { why, .. } = submit(&mut command(&["/nonexistent"], &place), &place) else {
        panic!()
    };
    assert!(why.contains("/nonexistent"), "{why}");
}

#[test]
fn a_command_leads_to_a_server() {
    let place = Place::new();
    let script = r#"
        printf '220 mx.example\r\n'
        while read -r line; do
            case "$line" in
                DATA*) printf '354 go on\r\n'
                    while read -r line; do case "$line" in .?) break;; esac; done
                    printf '250 2.0.0 taken\r\n';;
                QUIT*) printf '221 bye\r\n'; exit 0;;
                *) printf '250 ok\r\n';;
            esac
        done"#;
    let verdict = submit(&mut command(&["sh", "-c", script], &place), &place);
    assert!(matches!(&verdict, Verdict::Accepted(said) if said.contains("taken")), "{verdict:?}");
}

#[test]
fn the_enhanced_code_decides_the_exit_status() {
    for (code, enhanced, exit) in [
        (550, Some((5, 1, 1)), Exit::NoUser),
        (553, Some((5, 1, 3)), Exit::NoUser),
        (551, Some((5, 1, 6)), Exit::NoUser),
        (550, Some((5, 1, 2)), Exit::NoHost),
        (556, Some((5, 1, 10)), Exit::NoHost),
        (550, Some((5, 7, 26)), Exit::NoPerm),
        (550, Some((5, 1, 8)), Exit::Unavailable),
        (552, Some((5, 3, 4)), Exit::Unavailable),
        (535, None, Exit::NoPerm),
        (550, None, Exit::Unavailable),
    ] {
        let reply = Reply { code, enhanced, text: "x".into() };
        assert_eq!(exit_of(&reply), exit, "{reply:?}");
    }
}

#[test]
fn an_unusable_configuration_is_told_beforehand() {
    let place = Place::new();
    for url in ["smtp://{server}", "smtps://{server}", "mx.example:587", "imaps://mx.example"] {
        let config = config::Home { server: vec![], submit_via: Via::Url(url.into()), ..place.home(&[]) };
        assert_eq!(Submitter::new(&config).err().map(|failure| failure.exit), Some(Exit::Config), "{url}");
    }
}

#[test]
fn a_pin_must_be_one_and_have_something_to_hold() {
    let place = Place::new();
    let digest = "0a".repeat(32);
    let of = |url: &str, pin: &str| {
        let (submit_via, submit_tlsa) = (Via::Url(url.into()), vec![pin.to_owned()]);
        Submitter::new(&config::Home { submit_via, submit_tlsa, ..place.home(&[]) }).err()
    };
    assert!(of("smtps://mx.example", &format!("3 1 1 {digest}")).is_none());
    for (url, pin) in [
        ("smtps://mx.example", "3 1 1 0a0a".to_owned()),
        ("smtps://mx.example", digest.clone()),
        ("smtp://mx.example", format!("3 1 1 {digest}")),
    ] {
        let failure = of(url, &pin).unwrap();
        assert!(failure.exit == Exit::Config && failure.message.contains("submit_tlsa"), "{failure}");
    }
}
