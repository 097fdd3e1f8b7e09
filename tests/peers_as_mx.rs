//! Other people's servers as destinations of the relay: what Exim and Postfix make of how we speak.

mod harness;

use harness::home::{Home, letter};
use harness::peers::{Exim, Postfix};
use harness::wire::Wire;
use harness::{Dns, Plan, Server, ZONE, eventually};
use std::net::SocketAddr;

const ME: &str = "me@here.example";
const FRIEND: &str = "friend@there.example";
/// Postfix has a mailbox for everybody, here and there.
const EVERYBODY: &str = "virtual_mailbox_maps = static:friend/
virtual_mailbox_domains = there.example xn--bcher-kva.example
";

/// Our server, which sends everything to one peer.
struct Scene {
    _dns: Dns,
    ours: Server,
    me: Home,
}

impl Scene {
    fn new(peer: SocketAddr) -> Scene {
        let bücher = "xn--bcher-kva.example. 60 IN MX 10 mx.there.example.\n";
        let dns = Dns::start(&format!("{ZONE}{bücher}"));
        let relay = format!("[relay]\nport = {}\nallow_private = true\n", peer.port());
        let limits = "[limits]\nfree_space = 0\nrecipients = 300\n";
        let ours = Plan::new("mx.here.example", &[ME]).with(&relay).with(limits).start(&dns);
        let me = Home::new(&dns, ME);
        Scene { _dns: dns, ours, me }
    }

    fn send(&self, to: &[&str], subject: &str) {
        let letter = letter(ME, "somebody@there.example", subject);
        self.send_with("", to, "", &letter);
    }

    /// With parameters behind MAIL and RCPT.
    fn send_with(&self, mail: &str, to: &[&str], rcpt: &str, letter: &[u8]) {
        let (mut wire, server) = Wire::greeted(self.ours.submission());
        wire.ask(&format!("MAIL FROM:<{ME}>{mail}"), "250");
        for to in to {
            wire.ask(&format!("RCPT TO:<{to}>{rcpt}"), "250");
        }
        wire.ask("DATA", "354");
        wire.message(&self.me.sealed(letter, &server, to)).expect("250");
    }

    /// The report about a recipient in the sender's mailbox.
    #[track_caller]
    fn report(&self, about: &str) -> String {
        eventually(&format!("a report with {about}"), || {
            let mut letters = self.ours.letters("here.example/me").into_iter();
            letters.find(|letter| letter.contains(about))
        })
    }

    fn empty_queue(&self) {
        let queue = self.ours.state_dir().join("queue");
        eventually("an empty queue", || std::fs::read_dir(&queue).unwrap().next().is_none().then_some(()));
    }
}

/// For a peer that sends nothing on.
fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9))
}

#[test]
fn several_letters_go_over_one_connection_to_exim() {
    let exim = Exim::stranger(nowhere()).listen();
    let scene = Scene::new(exim.address);
    for n in 0..20 {
        scene.send(&[FRIEND], &format!("letter {n}"));
    }
    scene.empty_queue();
    eventually("all letters", || (exim.letters().len() == 20).then_some(()));
    // A lane has ten couriers at most.
    assert!(exim.connections() <= 10, "{} connections: {}", exim.connections(), exim.log());
    assert!(!exim.log().contains("error"), "{}", exim.log());
}

#[test]
fn several_letters_go_over_one_connection_to_postfix_and_two_recipients_in_one_transaction() {
    let postfix = Postfix::with(nowhere(), EVERYBODY);
    let scene = Scene::new(postfix.address);
    for n in 0..20 {
        scene.send(&[FRIEND, "other@there.example"], &format!("letter {n}"));
    }
    scene.empty_queue();
    let letters = || postfix.letters().len();
    eventually("all letters", || (letters() == 40).then_some(()));
    let log = eventually("the ends of all connections", || {
        let log = postfix.log();
        let count = |what: &str| log.lines().filter(|line| line.contains(what)).count();
        (count(" connect from") == count("disconnect from")).then_some(log)
    });
    let count = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    assert_eq!(count("nrcpt=2"), 20, "{log}");
    assert!(count(" connect from") <= 10, "{log}");
    assert!(!log.contains("lost connection") && !log.contains("improper command"), "{log}");
}

#[test]
fn two_hundred_and_fifty_recipients_are_three_transactions() {
    let postfix = Postfix::with(nowhere(), EVERYBODY);
    let scene = Scene::new(postfix.address);
    let to: Vec<String> = (0..250).map(|n| format!("r{n}@there.example")).collect();
    scene.send(&to.iter().map(String::as_str).collect::<Vec<_>>(), "to all of you");
    scene.empty_queue();
    eventually("all copies", || (postfix.letters().len() == 250).then_some(()));
    let mut sizes: Vec<usize> = postfix
        .log()
        .lines()
        .filter_map(|line| line.split_once("nrcpt=")?.1.split(' ').next()?.parse().ok())
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [50, 100, 100], "{}", postfix.log());
}

#[test]
fn letters_in_unicode_go_where_that_is_known_and_come_back_otherwise() {
    let unicode = |mut letter: Vec<u8>| {
        letter.splice(0..0, "X-Greeting: grüße\r\n".bytes());
        letter
    };
    let postfix = Postfix::with(nowhere(), EVERYBODY);
    let scene = Scene::new(postfix.address);
    let text = unicode(letter(ME, "somebody@there.example", "unicode"));
    scene.send_with(" BODY=8BITMIME SMTPUTF8", &["jürgen@there.example"], "", &text);
    let came = eventually("the letter", || postfix.letters().pop());
    assert!(came.contains("X-Greeting: grüße"), "{came}");
    scene.empty_queue();

    let postfix = Postfix::with(nowhere(), &format!("{EVERYBODY}smtputf8_enable = no\n"));
    let scene = Scene::new(postfix.address);
    scene.send_with(" BODY=8BITMIME SMTPUTF8", &[FRIEND], "", &text);
    scene.send_with(" SMTPUTF8", &["jürgen@there.example"], "", &letter(ME, "me@there.example", "address"));
    for about in ["; friend@there.example", "rgen@there.example"] {
        let report = scene.report(about);
        assert!(report.contains("5.6.7") && report.contains("SMTPUTF8"), "{report}");
    }
    scene.empty_queue();
    assert!(!postfix.log().contains(" mail="), "it was not even asked: {}", postfix.log());
    // What is all ASCII but the domain's spelling goes by the spelling that everybody knows.
    scene.send_with(" SMTPUTF8", &["friend@bücher.example"], "", &letter(ME, "a@b.example", "a-label"));
    postfix.says(&["to=<friend@xn--bcher-kva.example>", "status=sent"]);
    scene.empty_queue();
}

#[test]
fn eight_bit_text_goes_as_it_is_or_comes_back() {
    let mut text = letter(ME, "somebody@there.example", "eight bit");
    text.extend_from_slice("Grüße, und ein Gruß.\r\n".as_bytes());
    let postfix = Postfix::with(nowhere(), EVERYBODY);
    let scene = Scene::new(postfix.address);
    scene.send_with(" BODY=8BITMIME", &[FRIEND], "", &text);
    let came = eventually("the letter", || postfix.letters().pop());
    assert!(came.contains("Grüße, und ein Gruß."), "{came}");

    let seven = format!("{EVERYBODY}smtpd_discard_ehlo_keywords = 8bitmime\n");
    let postfix = Postfix::with(nowhere(), &seven);
    let scene = Scene::new(postfix.address);
    scene.send_with(" BODY=8BITMIME", &[FRIEND], "", &text);
    let report = scene.report("; friend@there.example");
    assert!(report.contains("5.6.3") && report.contains("8BITMIME"), "{report}");
    scene.empty_queue();
    assert!(!postfix.log().contains(" mail="), "{}", postfix.log());
}

#[test]
fn a_letter_that_is_too_large_is_not_even_begun() {
    let postfix = Postfix::with(nowhere(), &format!("{EVERYBODY}message_size_limit = 5000\n"));
    let scene = Scene::new(postfix.address);
    let mut large = letter(ME, FRIEND, "large");
    large.extend_from_slice("a line of text\r\n".repeat(400).as_bytes());
    scene.send_with("", &[FRIEND], "", &large);
    let report = scene.report("; friend@there.example");
    assert!(report.contains("at most 5000") && report.contains("5.3.4"), "{report}");
    scene.empty_queue();
    // The connection is as good as before.
    scene.send(&[FRIEND], "small");
    eventually("the small letter", || postfix.letters().pop());
    let farewell = eventually("the farewell", || {
        let log = postfix.log();
        log.lines().find(|line| line.contains("disconnect from")).map(str::to_owned)
    });
    assert!(!farewell.contains(" mail=2") && !farewell.contains("mail=0/"), "{}", postfix.log());
}

#[test]
fn wishes_for_reports_go_on_to_postfix_who_then_has_the_duty() {
    let zone = Dns::start(ZONE);
    let inbox = Server::ours(&zone);
    let postfix = Postfix::with(inbox.mx(), EVERYBODY);
    let scene = Scene::new(postfix.address);
    let rcpt = " NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;first+2Btopic@there.example";
    let text = letter(ME, FRIEND, "with wishes");
    scene.send_with(" RET=HDRS ENVID=my+2Bown", &[FRIEND], rcpt, &text);
    let report = eventually("Postfix's report", || inbox.letters("here.example/me").pop());
    for words in [
        "Original-Envelope-Id: my+own",
        "Original-Recipient: rfc822;first+topic@there.example",
        "Action: delivered",
    ] {
        assert!(report.contains(words), "{words}: {report}");
    }
    scene.empty_queue();
    let own = scene.ours.letters("here.example/me");
    assert!(own.is_empty(), "it is his duty alone: {own:?}");

    // Whoever knows nothing of it leaves the duty with us.
    let deaf = format!("{EVERYBODY}smtpd_discard_ehlo_keywords = dsn\n");
    let postfix = Postfix::with(nowhere(), &deaf);
    let scene = Scene::new(postfix.address);
    scene.send_with(" RET=HDRS ENVID=my+2Bown", &[FRIEND], rcpt, &text);
    let report = scene.report("Action: relayed");
    assert!(report.contains("my+own") && report.contains("first+topic@there.example"), "{report}");
}

#[test]
fn who_is_greylisted_waits_and_comes_again() {
    let exim = Exim::stranger(nowhere()).listen();
    exim.greylist(true);
    let scene = Scene::new(exim.address);
    scene.send(&[FRIEND], "patience");
    let listed = || {
        let output = scene.ours.command(&["queue", "list", "--json"]);
        String::from_utf8(output.stdout).unwrap()
    };
    let why = eventually("the letter put off", || Some(listed()).filter(|list| list.contains("greylisted")));
    assert!(why.contains("answered RCPT TO: 451"), "{why}");
    assert!(exim.letters().is_empty());
    exim.greylist(false);
    let done = scene.ours.command(&["queue", "retry", "there.example"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    eventually("the letter at the friend's", || exim.letters().pop());
    scene.empty_queue();
    assert!(scene.ours.letters("here.example/me").is_empty(), "nobody is told of what went well");
}
