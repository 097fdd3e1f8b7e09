//! `pillarbox address`, against a server that is running: no reload is needed.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

mod harness;

use harness::wire::Wire;
use harness::{Dns, Plan, Server, ZONE};

fn said(server: &Server, arguments: &[&str], exit: i32) -> (String, String) {
    let output = server.command(&[&["address"], arguments].concat());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

fn takes_mail(server: &Server, address: &str) -> bool {
    let (mut wire, _) = Wire::greeted(server.mx());
    wire.ask("MAIL FROM:<friend@there.example>", "250");
    wire.say(&format!("RCPT TO:<{address}>")).reply().starts_with("250")
}

#[test]
fn a_first_address_brings_postmaster_and_abuse() {
    let dns = Dns::start(ZONE);
    let server = Plan::new("mx.here.example", &["you@elsewhere.example"]).start(&dns);
    assert!(!takes_mail(&server, "me@here.example"));
    let (out, err) = said(&server, &["add", "me@here.example"], 0);
    assert!(out.contains("postmaster@here.example") && out.contains("abuse@here.example"), "{out}");
    assert_eq!(err, "");
    for address in ["me@here.example", "postmaster@here.example", "Abuse@here.example"] {
        assert!(takes_mail(&server, address), "{address}");
    }
    let link = std::fs::read_link(server.maildir("here.example/postmaster")).unwrap();
    assert_eq!(link.to_str(), Some("me"), "relative, so that the tree can be moved");

    let (out, _) = said(&server, &["add", "blog@here.example", "--alias-of", "me@here.example"], 0);
    assert!(!out.contains("postmaster"), "{out}");
    assert!(takes_mail(&server, "blog@here.example"));
}

#[test]
fn a_published_selector_is_pointed_out() {
    let dns = Dns::start(ZONE);
    dns.add("news._domainkey.here.example. 60 IN TXT \"v=DKIM1; p=AAAA\"");
    let server = Server::ours(&dns);
    let (_, err) = said(&server, &["add", "news@here.example"], 0);
    assert!(err.contains("news._domainkey.here.example is published"), "{err}");
    let (_, err) = said(&server, &["remove", "news@here.example"], 0);
    assert!(err.contains("is still published"), "{err}");
    let (_, err) = said(&server, &["add", "quiet@here.example"], 0);
    assert_eq!(err, "");
}

#[test]
fn nothing_is_removed_while_letters_wait() {
    let dns = Dns::start(ZONE);
    let server = Server::ours(&dns);
    let (mut wire, _) = Wire::greeted(server.mx());
    let letter = harness::home::letter("friend@there.example", "me@here.example", "wait");
    assert!(wire.transact("friend@there.example", &["me@here.example"], &letter).starts_with("250"));

    let (_, err) = said(&server, &["remove", "me@here.example"], 69);
    assert!(err.starts_with("pillarbox: ") && err.contains("letter"), "{err}");
    assert_eq!(server.letters("here.example/me").len(), 1);

    let (out, _) = said(&server, &["list", "--json"], 0);
    let list: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(list[0]["domain"], "here.example");
    assert_eq!(list[0]["addresses"][0]["address"], "me@here.example");
    assert_eq!(list[0]["addresses"][0]["waiting"], 1);
}

#[test]
fn a_domain_goes_with_its_last_address_and_the_output_says_so() {
    let dns = Dns::start(ZONE);
    let server = Plan::new("mx.here.example", &["you@elsewhere.example"]).start(&dns);
    said(&server, &["add", "me@here.example"], 0);
    let (out, _) = said(&server, &["remove", "me@here.example"], 0);
    assert!(out.contains("postmaster@here.example was another name for it"), "{out}");
    assert!(out.contains("here.example had no other address") && !out.contains("451"), "{out}");
    assert!(!server.maildir("here.example").exists());
    let reply = |to: &str| {
        let (mut wire, _) = Wire::greeted(server.mx());
        match wire.say("MAIL FROM:<friend@there.example>").reply() {
            taken if taken.starts_with("250") => wire.say(&format!("RCPT TO:<{to}>")).reply(),
            refused => refused,
        }
    };
    assert!(reply("me@here.example").starts_with("550 5.7.1"));
    assert!(reply("you@elsewhere.example").starts_with("250"));
    let (out, _) = said(&server, &["remove", "you@elsewhere.example"], 0);
    assert!(out.contains("no domain is left") && out.contains("451"), "{out}");
    assert!(reply("you@elsewhere.example").starts_with("451"));
    said(&server, &["add", "me@here.example"], 0);
    assert!(reply("me@here.example").starts_with("250"));
}

#[test]
fn the_list_shows_aliases_and_topics() {
    let dns = Dns::start(ZONE);
    let server = Plan::new("mx.here.example", &["me@here.example", "me/lists@here.example"]).start(&dns);
    said(&server, &["add", "blog@here.example", "--alias-of", "me@here.example"], 0);
    said(&server, &["add", "*@here.example", "--alias-of", "me@here.example"], 0);
    let (out, _) = said(&server, &["list"], 0);
    for line in ["me@here.example", "me/lists@here.example", "blog@here.example → me", "*@here.example → me"]
    {
        assert!(out.lines().any(|said| said == line), "{line}: {out}");
    }
    assert!(takes_mail(&server, "whoever@here.example"));
    said(&server, &["remove", "*@here.example"], 0);
    assert!(!takes_mail(&server, "whoever@here.example"));
}

#[test]
fn what_cannot_be_is_refused() {
    let dns = Dns::start(ZONE);
    let server = Server::ours(&dns);
    said(&server, &["add", "me@here.example"], 69);
    said(&server, &["add", "nonsense"], 64);
    said(&server, &["add", "me/new@here.example"], 69);
    said(&server, &["add", "x@here.example", "--alias-of", "nobody@here.example"], 69);
    said(&server, &["remove", "nobody@here.example"], 69);
    assert!(!takes_mail(&server, "x@here.example"));
}
