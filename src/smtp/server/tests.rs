//! Dialogues (tests/dialogues), and that it does not matter how the octets are cut.

mod foreign;
mod tls;

use super::*;
use crate::smtp::Door;
use proptest::prelude::*;

fn settings(door: Door, tls: Tls) -> Settings {
    Settings {
        hostname: "mx.example".into(),
        door,
        message_size: 1000,
        recipients: 3,
        command_timeout: Duration::from_secs(300),
        tls,
    }
}

/// A driver that decides by name, and keeps a record.
struct Driver {
    session: Session,
    nodata: bool,
    broken: bool,
    said: Vec<u8>,
    /// `None` until a letter has ended.
    body: Option<Vec<u8>>,
    current: Vec<u8>,
    events: Vec<String>,
    reset: bool,
    secured: bool,
    closed: bool,
}

impl Driver {
    fn new(door: Door) -> Driver {
        Driver::with(door, Tls::Unavailable)
    }

    fn with(door: Door, tls: Tls) -> Driver {
        let mut driver = Driver {
            session: Session::new(settings(door, tls)),
            nodata: false,
            broken: false,
            said: Vec::new(),
            body: None,
            current: Vec::new(),
            events: Vec::new(),
            reset: false,
            secured: false,
            closed: false,
        };
        driver.run();
        driver
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.session.feed(bytes);
        self.run();
    }

    fn run(&mut self) {
        loop {
            let answer = match self.session.step() {
                Step::Read => break,
                Step::Close => {
                    self.closed = true;
                    break;
                }
                Step::Mail(sender) => {
                    self.events.push(format!("mail {}", sender.path));
                    by_name(&sender.path.to_string(), 0)
                }
                Step::Rcpt(recipient) => {
                    let address = recipient.address.to_string();
                    self.nodata |= address.starts_with("nodata@");
                    self.broken |= address.starts_with("broken@");
                    self.events.push(format!("rcpt {address}"));
                    by_name(&address, 5)
                }
                Step::StartTls => {
                    self.secured = true;
                    self.session.secured();
                    continue;
                }
                Step::Data if self.nodata => Reply::new(451, 3, 0, "not now"),
                Step::Data => Reply::plain(354, "go on"),
                Step::Body(body) => {
                    assert!(!body.is_empty());
                    self.current.extend_from_slice(body);
                    continue;
                }
                Step::EndOfData(end) => {
                    assert_eq!(end.size, self.current.len() as u64);
                    self.events.push(format!("letter {end:?} {:?}", String::from_utf8_lossy(&self.current)));
                    self.body = Some(std::mem::take(&mut self.current));
                    if self.broken { Reply::new(451, 3, 0, "disk") } else { Reply::new(250, 6, 0, "stored") }
                }
                Step::Reset => {
                    self.events.push("reset".into());
                    self.current.clear();
                    self.nodata = false;
                    self.reset = true;
                    continue;
                }
            };
            self.session.answer(answer);
        }
        self.said.extend(self.session.take_output());
    }
}

fn by_name(address: &str, detail: u16) -> Reply {
    match address.split('@').next() {
        Some("unknown") => Reply::new(550, 1, 1, "unknown"),
        Some("busy") => Reply::new(451, 3, 0, "busy"),
        _ => Reply::new(250, 1, detail, "fine"),
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet != b'\\' {
            out.push(octet);
            continue;
        }
        match rest.next() {
            Some(b'r') => out.push(b'\r'),
            Some(b'n') => out.push(b'\n'),
            Some(b'0') => out.push(0),
            Some(b'\\') => out.push(b'\\'),
            Some(b'x') => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                out.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            }
            other => panic!("escape {other:?} in {text}"),
        }
    }
    out
}

/// `c*3: text` → (`c`, 3, `text`).
fn directive(line: &str) -> (&str, usize, &str) {
    let (head, text) = line.split_once(':').unwrap_or((line, ""));
    let (name, times) = match head.split_once('*') {
        Some((name, times)) => (name, times.parse().unwrap()),
        None => (head, 1),
    };
    (name, times, text.strip_prefix(' ').unwrap_or(text))
}

fn dialogue(name: &str, text: &str, cut: usize) {
    let door = if text.contains("door: submission") { Door::Submission } else { Door::Mx };
    let tls = if text.contains("tls: offered") { Tls::Offered } else { Tls::Unavailable };
    let mut driver = Driver::with(door, tls);
    let mut group = Vec::new();
    for (number, line) in
        text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
    {
        let place = format!("{name}:{}, cut at {cut}", number + 1);
        let (directive, times, text) = directive(line);
        if directive != "c" && !group.is_empty() {
            assert_eq!(String::from_utf8_lossy(&driver.said), "", "{place}: unexpected");
            for part in group.chunks(cut) {
                driver.feed(part);
            }
            group.clear();
        }
        for _ in 0..times {
            match directive {
                "c" => match text.strip_suffix('\\') {
                    Some(text) => group.extend(unescape(text)),
                    None => group.extend([unescape(text), b"\r\n".to_vec()].concat()),
                },
                "s" => {
                    let end = driver.said.windows(2).position(|pair| pair == b"\r\n");
                    let end = end.unwrap_or_else(|| panic!("{place}: nothing said"));
                    let said: Vec<u8> = driver.said.drain(..end + 2).collect();
                    let said = String::from_utf8(said).unwrap();
                    well_formed(&said).unwrap_or_else(|fault| panic!("{place}: {said:?} {fault}"));
                    assert!(said.starts_with(text), "{place}: {said:?}, wanted {text:?}");
                }
                "body" => assert_eq!(driver.body.take(), Some(unescape(text)), "{place}"),
                "reset" => assert!(std::mem::take(&mut driver.reset), "{place}: no reset"),
                "secured" => assert!(std::mem::take(&mut driver.secured), "{place}: no handshake"),
                "closed" => assert!(driver.closed, "{place}: still open"),
                "door" | "tls" => {}
                _ => panic!("{place}: what is {directive:?}?"),
            }
        }
    }
    assert!(group.is_empty(), "{name}: nothing is expected at the end");
    assert_eq!(String::from_utf8_lossy(&driver.said), "", "{name}: unexpected at the end");
    assert!(!driver.reset, "{name}: unexpected reset");
    assert!(!driver.secured, "{name}: unexpected handshake");
    assert_eq!(driver.closed, text.contains("\nclosed"), "{name}: closed or not");
}

/// RFC 5321 sections 4.2 and 4.5.3.1.5, RFC 2034 section 4: three digits of the right classes, at most 512 octets, an
/// enhanced code of the same class unless it is the greeting, 354, or an answer to EHLO or HELO.
fn well_formed(line: &str) -> Result<(), &'static str> {
    let (code, text) = line.trim_end().split_at_checked(3).ok_or("has no code")?;
    if line.len() > 512 || !line.is_ascii() {
        return Err("is too long, or not ASCII");
    }
    let (class, text) = (code.chars().next().unwrap(), text.strip_prefix([' ', '-']).ok_or("has no text")?);
    if code.parse::<u16>().is_err() || !('2'..='5').contains(&class) {
        return Err("has no code of RFC 5321");
    }
    let without = code == "220"
        || code == "354"
        || (code == "250" && !text.starts_with("2."))
        || text.starts_with("Say ");
    let enhanced = text.split(' ').next().unwrap_or_default();
    let numbers: Vec<&str> = enhanced.split('.').collect();
    let right = numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u16>().is_ok());
    (without || (right && enhanced.starts_with(class)))
        .then_some(())
        .ok_or("has no enhanced code of its class")
}

#[test]
fn dialogues() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dialogues");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "smtp") {
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            dialogue(&name, &text, usize::MAX);
            if !text.starts_with("# whole") {
                dialogue(&name, &text, 1);
                dialogue(&name, &text, 7);
            }
            count += 1;
        }
    }
    assert!(count >= 35, "only {count} dialogues found");
}

#[test]
fn abort_speaks_and_closes_from_any_state() {
    for before in
        ["", "HELO x\r\nMAIL FROM:<>\r\n", "HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n"]
    {
        let mut driver = Driver::new(Door::Mx);
        driver.feed(before.as_bytes());
        driver.feed(b"half a li");
        driver.said.clear();
        driver.session.abort(Reply::new(421, 3, 2, "shutting down"));
        driver.run();
        assert_eq!(driver.said, b"421 4.3.2 shutting down\r\n");
        driver.session.abort(Reply::new(421, 3, 2, "again"));
        driver.feed(b"NOOP\r\n");
        assert!(driver.closed && driver.said == b"421 4.3.2 shutting down\r\n");
    }
}

#[test]
fn an_answer_nobody_asked_for_says_nothing() {
    let mut session = Session::new(settings(Door::Mx, Tls::Unavailable));
    session.take_output();
    session.answer(Reply::new(250, 0, 0, "stray"));
    assert_eq!(session.take_output(), b"");
}

#[test]
fn a_driver_that_answers_421_is_done() {
    let mut session = Session::new(settings(Door::Mx, Tls::Unavailable));
    session.feed(b"HELO x\r\nMAIL FROM:<>\r\nNOOP\r\n");
    assert!(matches!(session.step(), Step::Mail(_)));
    assert!(matches!(session.step(), Step::Mail(_)), "comes again until it is answered");
    session.answer(Reply::new(421, 3, 2, "going down"));
    assert!(matches!(session.step(), Step::Close));
}

#[test]
fn it_waits_less_for_data_than_for_commands() {
    let mut driver = Driver::new(Door::Mx);
    assert_eq!(driver.session.timeout(), Duration::from_secs(300));
    driver.feed(b"HELO x y\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n");
    assert_eq!(driver.session.timeout(), Duration::from_secs(180));
    assert_eq!(driver.session.greeted_as(), Some(("x?y", false)));
}

#[test]
fn body_slices_are_as_large_as_what_was_fed() {
    let mut driver = Driver::new(Door::Mx);
    driver.feed(b"HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n");
    let body = "line\r\n".repeat(100);
    driver.session.feed(body.as_bytes());
    assert!(matches!(driver.session.step(), Step::Body(slice) if slice == body.as_bytes()));
    assert!(matches!(driver.session.step(), Step::Read));
}

/// Everything that can be seen of a session.
fn trace(groups: &[Vec<u8>], cuts: &[usize]) -> (String, Vec<String>, bool) {
    let mut driver = Driver::new(Door::Submission);
    let mut cuts = cuts.iter().cycle();
    for group in groups {
        let mut rest = group.as_slice();
        while !rest.is_empty() {
            let (part, more) = rest.split_at((*cuts.next().unwrap()).clamp(1, rest.len()));
            driver.feed(part);
            rest = more;
        }
    }
    (String::from_utf8(driver.said).unwrap(), driver.events, driver.closed)
}

/// Groups end behind DATA, since what comes with DATA is judged by having come with it.
fn groups() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let piece = prop_oneof![
        4 => Just("HELO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<me@here.example>\r\nDATA\r\n".to_owned()),
        1 => Just("MAIL FROM:<>\r\nRCPT TO:<me@here.example>\r\nDATA\r\n".to_owned()),
        1 => Just("RSET\r\n".to_owned()),
        1 => Just("x\r\n".repeat(400)),
        1 => Just("NOOP".repeat(700)),
        6 => "[.\r\nxé\u{0}]{0,12}",
        6 => "((\\.{0,3}[ab]{0,3})?\r\n){0,6}",
        4 => Just("\r\n.\r\n".to_owned()),
    ];
    let pieces = proptest::collection::vec(piece, 0..12);
    pieces.prop_map(|pieces| {
        let text = pieces.concat();
        text.split_inclusive("DATA\r\n").map(|group| group.as_bytes().to_vec()).collect()
    })
}

proptest! {
    #[test]
    fn the_same_octets_give_the_same_session(
        groups in groups(),
        cuts in proptest::collection::vec(1usize..40, 1..8),
    ) {
        prop_assert_eq!(trace(&groups, &cuts), trace(&groups, &[usize::MAX]));
    }

    #[test]
    fn no_octets_make_it_panic(groups in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
        trace(&groups, &[usize::MAX]);
    }
}

#[test]
fn a_letter_that_will_be_refused_is_not_handed_out() {
    for (text, most) in [("a\nb\r\n".to_owned() + &"x\r\n".repeat(20), 5), ("line\r\n".repeat(400), 1000)] {
        let mut driver = Driver::new(Door::Mx);
        driver.feed(b"HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n");
        for part in text.as_bytes().chunks(2) {
            driver.feed(part);
        }
        assert!(driver.current.len() <= most, "{} octets", driver.current.len());
        driver.feed(b".\r\n");
        assert!(driver.reset && driver.body.is_none());
    }
}
