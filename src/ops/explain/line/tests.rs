use super::*;
use crate::system::log::ForJournal;
use std::io::Write;
use std::sync::{Arc, Mutex};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<u8>>>);

impl Write for Shown {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(octets)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Shown {
    type Writer = Shown;
    fn make_writer(&'a self) -> Shown {
        self.clone()
    }
}

impl Shown {
    fn line(&self) -> String {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    }
}

/// What the log's three forms make of the same event: for the journal, for a terminal with and without colours, as JSON.
fn forms(event: impl Fn()) -> Vec<String> {
    let shown = Shown::default();
    let mut lines = Vec::new();
    let journal = tracing_subscriber::fmt::layer().event_format(ForJournal).with_ansi(false);
    let registry = tracing_subscriber::registry().with(journal.with_writer(shown.clone()));
    tracing::subscriber::with_default(registry, &event);
    lines.push(shown.line());
    for colours in [false, true] {
        let text = tracing_subscriber::fmt::layer().with_target(false).with_ansi(colours);
        let registry = tracing_subscriber::registry().with(text.with_writer(shown.clone()));
        tracing::subscriber::with_default(registry, &event);
        lines.push(shown.line());
    }
    let json = tracing_subscriber::fmt::layer().json().flatten_event(true);
    let registry = tracing_subscriber::registry().with(json.with_writer(shown.clone()));
    tracing::subscriber::with_default(registry, &event);
    lines.push(shown.line());
    lines
}

/// The fields by name, since JSON has an order of its own.
fn sorted(line: &Line) -> Vec<(&str, &str)> {
    let mut fields: Vec<_> =
        line.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    fields.sort_unstable();
    fields
}

#[test]
fn every_form_says_the_same() {
    let event = || {
        let (to, error) = ("\"two words id=1\"@x.example", "reading it: No such file (os error 2)");
        tracing::info!(
            id = "5f0a1b2c3d4e5f00",
            %to,
            %error,
            by = "mx.x [192.0.2.1]: 250 \"so\" id=no\nentry=no \\",
            from = "",
            attempts = 3,
            fault = None::<String>,
            note = Some("é"),
            "not delivered here; tried again"
        );
    };
    for text in forms(event) {
        let line = Line::read(&text).unwrap();
        assert_eq!(line.message, "not delivered here; tried again", "{text}");
        let by = line.get("by").unwrap();
        // Where it has to be one line, the line end is spelled.
        assert_eq!(by, "mx.x [192.0.2.1]: 250 \"so\" id=no\nentry=no \\", "{text}");
        let fields = sorted(&line).into_iter().filter(|(name, _)| *name != "by").collect::<Vec<_>>();
        assert_eq!(
            fields,
            [
                ("attempts", "3"),
                ("error", "reading it: No such file (os error 2)"),
                ("from", ""),
                ("id", "5f0a1b2c3d4e5f00"),
                ("note", "é"),
                ("to", "\"two words id=1\"@x.example"),
            ],
            "{text}"
        );
        assert_eq!(line.ids().collect::<Vec<_>>(), ["5f0a1b2c3d4e5f00"], "{text}");
        assert_eq!(line.time.is_some(), !text.starts_with('<'), "{text}");
    }
}

#[test]
fn journalctl_begins_a_line_in_its_own_ways() {
    let id = "5f0a1b2c3d4e5f00";
    let at: Timestamp = "2026-11-28T15:27:50Z".parse().unwrap();
    let event = format!("delivered id={id} to=\"here.example/me\"");
    for (prefix, time, written) in [
        ("", None, None),
        ("2026-11-28T15:27:50+0000 mx pillarbox[7]: ", Some(at), None),
        ("2026-11-28T16:27:50+01:00 mx pillarbox[7]: ", Some(at), None),
        ("Nov 28 15:27:50 mx pillarbox[7]: ", None, Some("Nov 28 15:27:50")),
        ("Sat 2026-11-28 15:27:50 UTC mx pillarbox[7]: ", None, Some("Sat 2026-11-28 15:27:50 UTC")),
    ] {
        let line = Line::read(&format!("{prefix}{event}\n")).unwrap();
        assert_eq!((line.time, line.written.as_deref()), (time, written), "{prefix}");
        assert_eq!(line.message, "delivered", "{prefix}");
        assert_eq!(sorted(&line), [("id", id), ("to", "here.example/me")], "{prefix}");
    }
    let json =
        serde_json::json!({ "MESSAGE": event, "__REALTIME_TIMESTAMP": "1795879670000000", "_PID": "7" });
    let line = Line::read(&json.to_string()).unwrap();
    assert_eq!((line.time, line.message.as_str(), line.get("id")), (Some(at), "delivered", Some(id)));
    // The server's JSON, by way of a pipe into the journal.
    let inner =
        format!("{{\"timestamp\":\"2026-11-28T15:27:50Z\",\"message\":\"delivered\",\"id\":\"{id}\"}}");
    let line = Line::read(&serde_json::json!({ "MESSAGE": inner }).to_string()).unwrap();
    assert_eq!((line.time, line.message.as_str(), line.get("id")), (Some(at), "delivered", Some(id)));
}

#[test]
fn what_a_stranger_says_names_no_letter() {
    let theirs = "aaaaaaaaaaaaaaaa";
    for said in [
        format!("x id={theirs} entry={theirs}"),
        format!("\" id={theirs} \""),
        format!("\\\" id={theirs}"),
        format!("\n<6>accepted id={theirs}"),
        format!("\u{1b}[31m id={theirs}"),
        format!("mx pillarbox[1]: delivered id={theirs}"),
        format!("]: delivered id={theirs}"),
    ] {
        for text in forms(|| tracing::info!(from = said, to = said, "refused at RCPT")) {
            let line = Line::read(&text).unwrap();
            assert_eq!(line.ids().count(), 0, "{text}");
            assert_eq!(line.message, "refused at RCPT", "{text}");
        }
    }
}

#[test]
fn what_is_cut_or_no_line_of_ours_is_read_as_far_as_it_goes() {
    let cut = "accepted id=\"5f0a1b2c3d4e5f00\" to=\"me@here.example and so";
    let line = Line::read(cut).unwrap();
    assert_eq!((line.get("to"), line.ids().count()), (Some("me@here.example and so"), 1));
    for odd in ["", " ", "=", " =", "a=", "a b=", "a b=\"", "<", "<6>", "\u{1b}[", "]: ", "[]: a", "a b=\"\\"]
    {
        Line::read(odd).unwrap();
    }
    for broken in ["{", "{\"message\":", "{}", "{\"message\":7", "{\"MESSAGE\":\"{\"}"] {
        assert_eq!(Line::read(broken), None, "{broken}");
    }
    assert!(Line::read("{\"MESSAGE\":null}").is_none());
}

#[test]
fn an_id_is_hexadecimal() {
    assert!(is_id("6553f100aaaaaaaaaaaa") && is_id("64a5f3e2b1c0d00"));
    for word in ["", "abc", "6553f100aaaaaaaaaaaA", ".*", "6553f100|aaaaaaaaaaa", &"a".repeat(33)] {
        assert!(!is_id(word), "{word}");
    }
}
