use super::*;
use crate::home::fake::Place;
use crate::mail::header::split_lenient;

fn identity(home: &Home, header: &str, sender: Option<&str>) -> Result<Identity, Failure> {
    let header = format!("{header}\r\n\r\n");
    let arguments = Arguments { sender: sender.map(str::to_owned), ..Arguments::default() };
    home.identify(&split_lenient(header.as_bytes()).fields, &arguments)
}

#[test]
fn hosts_that_are_this_machine() {
    let place = Place::new();
    let config = place.home(&[]);
    let home = Home::named(&config, "Laptop.lan.");
    for (address, here) in [
        ("root@laptop", true),
        ("root@laptop.lan", true),
        ("root@laptop.fritz.box", true),
        ("root@localhost", true),
        ("root@localhost.localdomain", true),
        ("root@[127.0.0.1]", true),
        ("root@[192.0.2.1]", false),
        ("root@laptops.example", false),
        ("root@example.net", false),
        ("root@lan.laptop", false),
    ] {
        assert_eq!(home.is_here(Address::parse(address).unwrap().host()), here, "{address}");
    }
}

#[test]
fn a_domain_of_ours_is_public_even_when_the_machine_is_called_alike() {
    let place = Place::new();
    let config = place.home(&[]);
    // A domain with keys is never guessed to be a local network's name; but its bare host name is this machine.
    let home = Home::named(&config, "example");
    assert!(!home.is_here(Address::parse("you@example.org").unwrap().host()));
    let home = Home::named(&config, "example.org");
    assert_eq!(identity(&home, "From: root@example.org", None).unwrap().sender.to_string(), "me@example.org");
    assert_eq!(identity(&home, "From: me@example.org", None).unwrap().author, None);
}

#[test]
fn from_and_the_envelope() {
    let place = Place::new();
    place.key("you@example.org");
    let config = config::Home { from: Some("The Owner <me@example.org>".into()), ..place.home(&[]) };
    let home = Home::named(&config, "laptop");
    // Header, -f: the envelope sender, and who stands in.
    for (header, sender, envelope, author) in [
        ("From: you@example.org", None, "you@example.org", None),
        ("From: you@example.org", Some("me@example.org"), "me@example.org", None),
        ("From: you@example.org", Some("root"), "you@example.org", None),
        ("From: you@example.org\r\nSender: x@laptop", None, "you@example.org", Some("you@example.org")),
        ("From: x@laptop", None, "me@example.org", Some("me@example.org")),
        ("From: x", Some("you@example.org"), "you@example.org", Some("you@example.org")),
        ("From:", None, "me@example.org", Some("me@example.org")),
        ("Subject: x", Some("you@example.org"), "you@example.org", Some("you@example.org")),
        ("Subject: x", Some("root@laptop"), "me@example.org", Some("me@example.org")),
        ("From: boss@elsewhere.example", None, "boss@elsewhere.example", None),
    ] {
        let identity = identity(&home, header, sender).unwrap();
        assert_eq!(identity.sender.to_string(), envelope, "{header} {sender:?}");
        let stands_in = identity.author.as_ref().map(|author| author.address.to_string());
        assert_eq!(stands_in.as_deref(), author, "{header} {sender:?}");
    }
    let identity = identity(&home, "Subject: x", None).unwrap();
    assert_eq!(identity.author.unwrap().display.as_deref(), Some("The Owner"));
}

#[test]
fn an_owner_who_is_unknown_or_wrong_is_a_matter_of_configuration() {
    let place = Place::new();
    place.key("you@example.org");
    for from in [None, Some("me"), Some(""), Some("a@example.org, b@example.org")] {
        let config = config::Home { from: from.map(str::to_owned), ..place.home(&[]) };
        let failure = identity(&Home::named(&config, "laptop"), "From: root", None).unwrap_err();
        assert_eq!(failure.exit, Exit::Config, "{from:?}: {failure}");
        assert!(failure.message.contains("from = "), "{failure}");
    }
}

#[test]
fn recipients() {
    let place = Place::new();
    let config = place.home(&[]);
    let home = Home::named(&config, "laptop");
    let sender = Address::parse("me@example.org").unwrap();
    for (written, address) in [
        ("a@example.net", "a@example.net"),
        ("a", "a@example.org"),
        ("root", "me@example.org"),
        ("anybody@laptop", "me@example.org"),
        ("root@localhost", "me@example.org"),
    ] {
        let target = one_target(written).unwrap();
        assert_eq!(home.recipient(&target, &sender).unwrap().to_string(), address, "{written}");
    }
    // A root with a key of its own is somebody.
    place.key("root@example.org");
    let target = one_target("root").unwrap();
    assert_eq!(home.recipient(&target, &sender).unwrap().to_string(), "root@example.org");
}
