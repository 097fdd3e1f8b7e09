//! The relay against destinations that break the rules: whatever they do, the letter stays ours until somebody has taken it or
//! refused it for good, we live on within bounds, and others get their mail meanwhile.

mod harness;

use harness::home::{Home, letter};
use harness::odd::{Odd, Peer, STAGES};
use harness::wire::Wire;
use harness::{Dns, Plan, Server, ZONE, eventually, mx};
use std::io;
use std::time::Duration;

const ME: &str = "me@here.example";

/// What becomes of a letter there.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It is put off, with these words.
    Later(&'static str),
    /// It comes back, with these words.
    Back(&'static str),
    /// It is taken.
    Taken,
}
use Fate::{Back, Later, Taken};

/// A domain, its one server, and what is to come of that.
struct Case {
    domain: String,
    odd: Odd,
    fate: Fate,
}

fn case(
    name: &str,
    fate: Fate,
    script: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static,
) -> Case {
    Case { domain: format!("{name}.example"), odd: Odd::start(script), fate }
}

/// A server that says this at a stage, and then nothing more until we go.
fn says(name: &str, stage: &'static str, said: impl Into<Vec<u8>>, fate: Fate) -> Case {
    let said = said.into();
    case(name, fate, move |peer| {
        peer.until(stage)?;
        peer.raw(&said)?;
        while peer.hear()? != "QUIT" {}
        peer.say("221 bye")
    })
}

/// Our server, somebody who writes, and the name server that knows where all these are.
struct Scene {
    dns: Dns,
    ours: Server,
    me: Home,
}

impl Scene {
    fn new() -> Scene {
        let dns = Dns::start(ZONE);
        let ours = Plan::new("mx.here.example", &[ME]).with(&mx::relay()).start(&dns);
        let me = Home::new(&dns, ME);
        Scene { dns, ours, me }
    }

    fn knows(&self, domain: &str, odd: &Odd) {
        self.dns.add(&format!("{domain}. 60 IN MX 10 mx.{domain}.\nmx.{domain}. 60 IN A {}\n", odd.ip));
    }

    fn send(&self, to: &[String], letter: &[u8]) {
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let (mut wire, server) = Wire::greeted(self.ours.submission());
        let reply = wire.transact(ME, &to, &self.me.sealed(letter, &server, &to));
        assert!(reply.starts_with("250"), "{reply}");
    }

    /// A letter to somebody who lives nearby arrives, whatever else is going on.
    #[track_caller]
    fn serves_others(&self, domain: &str) {
        let live = Odd::start(|peer| peer.behave());
        self.knows(domain, &live);
        self.send(&[format!("friend@{domain}")], &letter(ME, "friend@live.example", "meanwhile"));
        eventually("the letter to somebody else", || live.letters().pop());
    }

    /// Why the letter was put off for somebody, each time.
    fn put_off(&self, to: &str) -> Vec<String> {
        let lines = self.ours.log();
        let lines = lines.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let theirs = lines.filter(|line| line["message"] == "put off" && line["to"] == to);
        theirs.map(|line| line["reason"].as_str().unwrap().to_owned()).collect()
    }

    /// What is on the disk for letters that are not done with, as one text.
    fn queued(&self) -> String {
        let mut all = String::new();
        for entry in std::fs::read_dir(self.ours.state_dir().join("queue")).unwrap() {
            // What is delivered at this moment goes away.
            let text = std::fs::read(entry.unwrap().path()).unwrap_or_default();
            all.push_str(&String::from_utf8_lossy(&text));
        }
        all
    }

    /// The reports in the sender's mailbox about somebody.
    fn reports(&self, to: &str) -> Vec<String> {
        let about = format!("Final-Recipient: rfc822; {to}");
        self.ours.letters("here.example/me").into_iter().filter(|letter| letter.contains(&about)).collect()
    }

    /// One letter to all of them, each of whom does what is expected of him.
    fn try_all(mut self, cases: &[Case]) -> Scene {
        let to: Vec<String> = cases.iter().map(|case| format!("you@{}", case.domain)).collect();
        cases.iter().for_each(|case| self.knows(&case.domain, &case.odd));
        let before = peak(&self.ours);
        self.send(&to, &letter(ME, "you@many.example", "to all of you"));
        for (case, to) in cases.iter().zip(&to) {
            match case.fate {
                Later(words) => {
                    let why = eventually(&format!("{to} put off"), || self.put_off(to).pop());
                    assert!(why.contains(words), "{to}: want {words:?}, got {why:?}");
                    assert!(why.len() < 700, "{to}: a story of {} octets", why.len());
                }
                Back(words) => {
                    let report = eventually(&format!("a report about {to}"), || self.reports(to).pop());
                    assert!(report.contains(words), "{to}: want {words:?}, got {report}");
                    assert!(clean(&report), "{to}: {report:?}");
                }
                Taken => {
                    eventually(&format!("the letter to {to}"), || case.odd.letters().pop());
                }
            }
        }
        self.serves_others("meanwhile.example");
        for (case, to) in cases.iter().zip(&to) {
            let (later, back) = (matches!(case.fate, Later(_)), matches!(case.fate, Back(_)));
            assert_eq!(self.put_off(to).len(), usize::from(later), "{to}");
            assert_eq!(self.reports(to).len(), usize::from(back), "{to}");
        }
        if cases.iter().any(|case| matches!(case.fate, Later(_))) {
            assert!(self.queued().contains("Subject: to all of you"), "the letter is still there");
        }
        assert!(self.ours.is_alive());
        assert!(clean(&self.ours.log()), "{:?}", self.ours.log());
        assert!(!self.ours.log().contains("panicked") && !self.ours.log().contains("broke off"));
        let grown = peak(&self.ours).saturating_sub(before);
        assert!(grown < 16 << 10, "memory grew by {grown} KiB");
        self
    }
}

/// The most memory that it ever had, KiB.
fn peak(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Nothing in it would paint a terminal or end a line in an odd place.
fn clean(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() && !matches!(c, '\r' | '\n' | '\t') || c == '\u{202e}')
}

fn at(stage: &str) -> &str {
    match stage {
        "" => "greeting",
        "." => "dot",
        other => other,
    }
}

#[test]
fn whatever_a_server_says_that_is_no_reply_the_letter_stays() {
    let mega = [b"220 ".to_vec(), vec![b'x'; 1 << 20], b"\r\n".to_vec()].concat();
    let story = "250-and so on\r\n".repeat(10_000) + "250 the end\r\n";
    let mut cases = vec![
        says("megaline", "", mega.clone(), Later("line without end")),
        says("story", "EHLO", story.clone(), Later("too long")),
        says("storydot", ".", story, Later("too long")),
        says("megadot", ".", mega, Later("line without end")),
        says("mixed", "MAIL", "250-a\r\n550 b\r\n", Later("changes its code")),
        says("http", "", "HTTP/1.1 400 Bad Request\r\n\r\n", Later("is no SMTP reply: \"HTTP/1.1")),
        says("empty", "", "\r\n220 hello\r\n", Later("is no SMTP reply")),
        says("nuls", "", [0; 10_000], Later("line without end")),
        says("high", "", [0xff; 10_000], Later("line without end")),
        says("painted", "RCPT", "450 \x1b[2J\x07\0\u{9b}31m\u{202e}no\r\n", Later("450 ?[2J???31m?no")),
        says("paintedback", "RCPT", "550 5.1.1 \x1b[2J\x07\0\u{9b}31m\u{202e}no\r\n", Back("5.1.1 ?[2J??")),
        says("raw", "RCPT", b"550 \xff\xfe\x80 gone\r\n", Back("gone")),
    ];
    for (n, code) in
        ["000", "099", "199", "600", "999", "25", "2x0", "+25", "-50", "٢٥٠"].into_iter().enumerate()
    {
        for (stage, name) in [("MAIL", "mail"), (".", "dot")] {
            let said = format!("{code} no such code\r\n");
            cases.push(says(&format!("code{n}{name}"), stage, said, Later("is no SMTP reply")));
        }
    }
    Scene::new().try_all(&cases);
}

#[test]
fn what_is_odd_but_clear_is_understood() {
    let lines = |reply: fn(&str) -> String| {
        move |peer: &mut Peer| {
            peer.raw(reply("220 odd").as_bytes())?;
            loop {
                let line = peer.hear()?;
                let text = match line.as_str() {
                    "DATA" => {
                        peer.raw(reply("354 go on").as_bytes())?;
                        peer.text()?;
                        "250 taken"
                    }
                    "QUIT" => "221 bye",
                    _ => "250 ok",
                };
                peer.raw(reply(text).as_bytes())?;
            }
        }
    };
    let pieces = |peer: &mut Peer| {
        let say = |peer: &mut Peer, text: &str| {
            text.bytes().try_for_each(|octet| {
                std::thread::sleep(Duration::from_millis(1));
                peer.raw(&[octet])
            })
        };
        say(peer, "220-odd\r\n220 odd\r\n")?;
        loop {
            let line = peer.hear()?;
            match line.as_str() {
                "DATA" => {
                    say(peer, "354-go\r\n354 on\r\n")?;
                    peer.text()?;
                    say(peer, "250-2.0.0 it\r\n250 2.0.0 is taken\r\n")?;
                }
                _ => say(peer, "250-odd\r\n250-8BITMIME\r\n250 SIZE\r\n")?,
            }
        }
    };
    let pipelining = |peer: &mut Peer| {
        peer.say("220 odd")?;
        peer.hear()?;
        peer.say("250-odd\r\n250-PIPELINING\r\n250 SIZE 0")?;
        while peer.hear()? != "DATA" {}
        // All in one, and split where no line ends.
        peer.raw(b"250 2.1.0 ok\r\n250 2.1.")?;
        std::thread::sleep(Duration::from_millis(5));
        peer.raw(b"5 ok\r\n354 ")?;
        std::thread::sleep(Duration::from_millis(5));
        peer.raw(b"go on\r\n")?;
        peer.text()?;
        peer.say("250 taken")
    };
    let helo = |peer: &mut Peer| {
        peer.say("220 old")?;
        peer.hear()?;
        peer.say("500 what?")?;
        assert!(peer.hear()?.starts_with("HELO "));
        peer.say("250 old")?;
        loop {
            match peer.hear()?.as_str() {
                "DATA" => {
                    peer.say("354")?;
                    peer.text()?;
                    peer.say("250")?;
                }
                _ => peer.say("250")?,
            }
        }
    };
    // Who hangs up behind a reply has given it.
    let hasty = |peer: &mut Peer| {
        peer.until(".")?;
        peer.say("250 2.0.0 taken")
    };
    let scene = Scene::new().try_all(&[
        case("lf", Taken, lines(|text| format!("{text}\n"))),
        case("bare", Taken, lines(|text| format!("{}\r\n", &text[..3]))),
        case("dashes", Taken, lines(|text| format!("{0}-\r\n{0}\r\n", &text[..3]))),
        case("cr", Taken, lines(|text| format!("{text}\r\r\n"))),
        case("pieces", Taken, pieces),
        case("pipelining", Taken, pipelining),
        case("helo", Taken, helo),
        case("hasty", Taken, hasty),
        case("otherwords", Taken, lines(|text| text.replace("250", "253") + "\r\n")),
    ]);
    eventually("an empty queue", || scene.queued().is_empty().then_some(()));
}

#[test]
fn answers_that_come_before_they_are_due_are_not_believed() {
    let all = "250 a\r\n250 b\r\n250 c\r\n354 d\r\n250 2.0.0 taken\r\n";
    let early = |peer: &mut Peer| {
        peer.until("DATA")?;
        peer.raw(b"354 go on\r\n250 2.0.0 taken\r\n")?;
        peer.text()
    };
    let twice = |peer: &mut Peer| {
        peer.until("MAIL")?;
        peer.raw(b"250 ok\r\n250 ok\r\n")?;
        peer.until("there is no such command")
    };
    let refused = |peer: &mut Peer| {
        peer.until("DATA")?;
        peer.raw(b"354 go on\r\n552 5.3.4 too much of it\r\n")?;
        peer.text()
    };
    Scene::new().try_all(&[
        says("greeting", "", format!("220 odd\r\n{all}"), Later("before it was asked")),
        says("helloed", "EHLO", all, Later("over before it began")),
        case("twice", Later("before it was asked"), twice),
        case("taken", Later("answered before the message was sent"), early),
        case("toomuch", Back("5.3.4 too much of it"), refused),
    ]);
}

#[test]
fn whoever_goes_at_any_stage_gets_the_letter_later() {
    let mut cases = Vec::new();
    for stage in STAGES {
        let name = |what: &str| format!("{what}-{}", at(stage)).to_lowercase();
        cases.push(says(&name("421"), stage, "421 4.3.2 going down\r\n", Later("421 4.3.2 going down")));
        cases.push(case(&name("closes"), Later("the server closed the connection"), move |peer| {
            peer.until(stage)
        }));
        cases.push(case(&name("half"), Later("the server closed the connection"), move |peer| {
            peer.until(stage)?;
            peer.half_close()
        }));
        cases.push(case(&name("resets"), Later("Connection reset by peer"), move |peer| {
            peer.until(stage)?;
            peer.reset()
        }));
        cases.push(case(&name("cut"), Later("the server closed the connection"), move |peer| {
            peer.until(stage)?;
            peer.raw(b"250-half of a reply")
        }));
    }
    let scene = Scene::new().try_all(&cases);

    // What was lost behind the dot counts as not delivered: there it comes twice, everywhere else once.
    cases.iter().for_each(|case| case.odd.heal());
    let done = scene.ours.command(&["queue", "retry"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    eventually("an empty queue", || scene.queued().is_empty().then_some(()));
    for case in &cases {
        let copies = 1 + usize::from(case.domain.ends_with("-dot.example"));
        assert_eq!(case.odd.letters().len(), copies, "{}", case.domain);
    }
}

/// Each of them ends what goes well in a way of its own, so that no connection carries a second letter.
#[test]
fn letters_follow_each_other_to_servers_that_take_one_at_a_time() {
    const LETTERS: usize = 8;
    let one = |peer: &mut Peer| {
        peer.until(".")?;
        peer.say("250 2.0.0 taken")
    };
    let cases = [
        case("hangsup", Taken, one),
        case("tired", Taken, move |peer| {
            one(peer)?;
            peer.say("421 4.4.2 you were idle")
        }),
        case("enough", Taken, move |peer| {
            one(peer)?;
            peer.hear()?;
            peer.say("421 4.7.0 one letter is enough")
        }),
        case("deaf", Taken, move |peer| {
            one(peer)?;
            peer.hear()?;
            peer.reset()
        }),
        case("chatty", Taken, move |peer| {
            peer.until(".")?;
            peer.raw(b"250 2.0.0 taken\r\n250 2.0.0 and again: taken\r\n")?;
            peer.behave()
        }),
    ];
    let scene = Scene::new();
    cases.iter().for_each(|case| scene.knows(&case.domain, &case.odd));
    let to: Vec<String> = cases.iter().map(|case| format!("you@{}", case.domain)).collect();
    for n in 0..LETTERS {
        scene.send(&to, &letter(ME, "you@many.example", &format!("number {n}")));
    }
    eventually("an empty queue", || scene.queued().is_empty().then_some(()));
    for (case, to) in cases.iter().zip(&to) {
        let letters = case.odd.letters();
        for n in 0..LETTERS {
            let copies = letters.iter().filter(|letter| letter.contains(&format!("Subject: number {n}\r\n")));
            assert_eq!(copies.count(), 1, "{to}: number {n}");
        }
        assert!(scene.put_off(to).is_empty(), "{to}: {:?}", scene.put_off(to));
    }
}

#[test]
fn starttls_that_leads_nowhere_is_not_asked_for_again() {
    let garbage = |said: &'static [u8]| {
        move |peer: &mut Peer| {
            peer.say("220 odd")?;
            loop {
                let line = peer.hear()?;
                match line.split(' ').next().unwrap_or_default() {
                    "EHLO" => peer.say("250-odd\r\n250 STARTTLS")?,
                    "STARTTLS" => return peer.raw(said),
                    "DATA" => {
                        peer.say("354 go on")?;
                        peer.text()?;
                        peer.say("250 taken")?;
                    }
                    _ => peer.say("250 ok")?,
                }
            }
        }
    };
    let mut huge = b"220 go on\r\n".to_vec();
    huge.extend_from_slice(&[0x16, 3, 1, 0xff, 0xff]);
    huge.extend_from_slice(&vec![b'x'; 1 << 20]);
    let huge: &'static [u8] = Vec::leak(huge);
    let scene = Scene::new().try_all(&[
        case("garbage", Taken, garbage(b"220 go on\r\n220 what is this?\r\n")),
        case("huge", Taken, garbage(huge)),
        case("gone", Taken, garbage(b"220 go on\r\n")),
        case("no", Taken, garbage(b"250 ok\r\n")),
        case("down", Taken, garbage(b"421 4.3.2 going down\r\n")),
    ]);
    let log = scene.ours.log();
    assert!(log.contains("clear: TLS failed"), "{log}");
}

/// Those who hold us. How long they may is tried in the session's own tests; here, that they hold nobody else, and that a letter
/// in their hands is there after a crash.
#[test]
fn whoever_holds_us_holds_nobody_else() {
    let mut cases = vec![case("drips", Taken, |peer| peer.drip(b"220-x\r\n", Duration::from_millis(10)))];
    cases.push(case("octets", Taken, |peer| {
        peer.raw(b"220 ")?;
        peer.drip(b"x", Duration::from_millis(10))
    }));
    for stage in STAGES {
        cases.push(case(&format!("silent-{}", at(stage)).to_lowercase(), Taken, move |peer| {
            peer.until(stage)?;
            peer.wait()
        }));
    }
    cases.push(case("stops", Taken, |peer| {
        peer.until("DATA")?;
        peer.say("354 go on")?;
        peer.some_text(10_000)?;
        peer.wait()
    }));
    let mut scene = Scene::new();
    let to: Vec<String> = cases.iter().map(|case| format!("you@{}", case.domain)).collect();
    cases.iter().for_each(|case| scene.knows(&case.domain, &case.odd));
    // More than the two sides of a connection can hold between them.
    let mut large = letter(ME, "you@many.example", "to all of you");
    large.extend_from_slice("a line of text that says nothing at all\r\n".repeat(400_000).as_bytes());
    let before = peak(&scene.ours);
    scene.send(&to, &large);
    cases.iter().for_each(|case| case.odd.wait_for_connections(1));
    // Each of them for itself, and more of the same.
    for n in 0..5 {
        scene.serves_others(&format!("meanwhile{n}.example"));
    }
    let grown = peak(&scene.ours).saturating_sub(before);
    assert!(grown < 16 << 10, "memory grew by {grown} KiB");
    assert!(scene.queued().contains("Subject: to all of you"));
    assert!(to.iter().all(|to| scene.put_off(to).is_empty()), "{}", scene.ours.log());

    let taken = |case: &Case| case.odd.letters().len();
    let to_its_dot = |case: &Case| usize::from(case.domain == "silent-dot.example");
    for case in &cases {
        eventually(&case.domain, || (taken(case) == to_its_dot(case)).then_some(()));
    }
    cases.iter().for_each(|case| case.odd.heal());
    scene.ours = scene.ours.again();
    eventually("an empty queue", || scene.queued().is_empty().then_some(()));
    for case in &cases {
        // Where the dot came, and was not answered, it comes twice.
        assert_eq!(taken(case), 1 + to_its_dot(case), "{}", case.domain);
    }
}
