//! The queue as a person reads it.

use crate::mail::date::{ahead, span};
use crate::net::waiting::{Line, Total, Waiting};
use crate::smtp::reply::printable;
use indicatif::BinaryBytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Lines as wide as the terminal, or as long as they are where there is none.
pub(super) struct Table {
    /// Unix seconds.
    now: i64,
    width: usize,
    /// Whether a server runs, which will try again.
    running: bool,
}

impl Table {
    /// For standard output.
    pub(super) fn for_stdout(now: i64, running: bool) -> Table {
        let width = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(0, |size| size.ws_col);
        Table { now, width: if width == 0 { usize::MAX } else { usize::from(width).max(80) }, running }
    }

    /// A line, with its line feed; nothing for the first one.
    pub(super) fn line(&self, line: &Line) -> String {
        match line {
            Line::Queue { .. } => String::new(),
            Line::Waiting(waiting) => self.waiting(waiting),
            Line::Unreadable { id, why } => self.fitted(&format!("{id}  {why}")),
            Line::Total(total) => self.total(total),
        }
    }

    fn waiting(&self, waiting: &Waiting) -> String {
        let Waiting { id, arrived, size, sender, recipient, attempts, .. } = waiting;
        let (age, size) = (span(self.now - arrived), BinaryBytes(*size).to_string());
        let sender = if sender.is_empty() { "<>" } else { sender };
        let tries = if *attempts == 1 { "try" } else { "tries" };
        let letter = format!("{id}  {age:>7}  {size:>10}  {sender} → {recipient}");
        let mut fate = format!("{attempts} {tries}, {}", self.next(waiting));
        let closed = waiting.closed.as_ref().and_then(|closed| closed.reason.as_ref());
        if let Some(reason) = waiting.reason.as_ref().or(closed) {
            fate.push_str(": ");
            fate.push_str(reason);
        }
        let line = format!("{letter}  {fate}");
        match line.chars().count() <= self.width {
            true => self.fitted(&line),
            // The reason is what one looks for; it gets a line of its own before it is cut.
            false => self.fitted(&letter) + &self.fitted(&format!("    {fate}")),
        }
    }

    /// When he is tried again.
    fn next(&self, waiting: &Waiting) -> String {
        next_try(
            waiting.held,
            waiting.next_attempt,
            waiting.closed.as_ref().map(|it| (&*it.destination, it.until)),
            self.now,
        )
    }

    fn total(&self, total: &Total) -> String {
        let Total { letters, recipients, octets, oldest, unreadable } = total;
        let mut text = match oldest {
            None => "Nothing waits".to_owned(),
            Some(oldest) => format!(
                "{}, {}, {}; the oldest came {} ago",
                counted(*letters, "letter"),
                counted(*recipients, "recipient"),
                BinaryBytes(*octets),
                span(self.now - oldest)
            ),
        };
        if oldest.is_some() && !self.running {
            text.push_str("; no server runs, so nothing is tried");
        }
        if *unreadable > 0 {
            text.push_str(&format!("; {} cannot be read", counted(*unreadable, "letter")));
        }
        text.push('\n');
        text
    }

    fn fitted(&self, text: &str) -> String {
        let mut text = printable(text, self.width.saturating_sub(1));
        text.push('\n');
        text
    }
}

/// When somebody is tried again; `closed` is a destination that is left alone until then.
pub(super) fn next_try(held: bool, next_attempt: i64, closed: Option<(&str, i64)>, now: i64) -> String {
    match closed {
        _ if held => "held".into(),
        Some((destination, until)) => format!("when {destination} is tried again, {}", ahead(until - now)),
        None if next_attempt <= now => "due now".into(),
        None => format!("next {}", ahead(next_attempt - now)),
    }
}

/// A time of this machine, with its zone.
pub(super) fn local(seconds: i64) -> String {
    let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::waiting::Closed;

    fn waiting() -> Waiting {
        Waiting {
            id: "6a01e2f3c4d5e6f70819".into(),
            arrived: 1_000,
            size: 1_300,
            sender: "me@here.example".into(),
            recipient: "you@there.example".into(),
            attempts: 1,
            next_attempt: 8_720,
            held: false,
            reason: Some("450 4.2.1 later".into()),
            closed: None,
        }
    }

    fn said(waiting: Waiting) -> String {
        Table { now: 8_000, width: usize::MAX, running: true }.line(&Line::Waiting(waiting))
    }

    #[test]
    fn a_line_says_for_whom_when_and_why() {
        let line = said(waiting());
        assert_eq!(
            line,
            "6a01e2f3c4d5e6f70819      2 h    1.27 KiB  me@here.example → you@there.example  1 try, next in 12 min: \
             450 4.2.1 later\n"
        );
        assert!(said(Waiting { held: true, ..waiting() }).contains("1 try, held: 450"));
        assert!(said(Waiting { next_attempt: 0, ..waiting() }).contains("1 try, due now: 450"));
        let closed =
            Closed { destination: "there.example".into(), until: 8_180, reason: Some("timed out".into()) };
        let untried =
            Waiting { attempts: 0, next_attempt: 0, reason: None, closed: Some(closed), ..waiting() };
        assert!(said(untried).contains("0 tries, when there.example is tried again, in 3 min: timed out"),);
        assert!(said(Waiting { sender: String::new(), ..waiting() }).contains("<> → you@"));
    }

    #[test]
    fn a_line_is_no_wider_than_the_terminal() {
        let table = Table { now: 8_000, width: 80, running: true };
        let reason = Some(format!("450 4.2.1 {}", "x".repeat(80)));
        let lines = table.line(&Line::Waiting(Waiting { reason, ..waiting() }));
        let lines: Vec<&str> = lines.lines().collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].ends_with("me@here.example → you@there.example"), "{lines:?}");
        assert!(lines[1].starts_with("    1 try, next in 12 min: 450 4.2.1 xxx") && lines[1].ends_with('…'));
        assert_eq!(lines[1].chars().count(), 80, "{lines:?}");
        let wide = Table { width: 120, ..table };
        assert_eq!(wide.line(&Line::Waiting(waiting())).lines().count(), 1);
    }

    #[test]
    fn the_sum_comes_last() {
        let table = Table { now: 8_000, width: 80, running: true };
        let total = Total { letters: 1, recipients: 2, octets: 2048, oldest: Some(1_000), unreadable: 1 };
        assert_eq!(
            table.line(&Line::Total(total)),
            "1 letter, 2 recipients, 2.00 KiB; the oldest came 2 h ago; 1 letter cannot be read\n"
        );
        assert_eq!(table.line(&Line::Total(Total::default())), "Nothing waits\n");
        let stopped = Table { running: false, ..table };
        let total = Total { letters: 1, recipients: 1, octets: 2048, oldest: Some(1_000), unreadable: 0 };
        assert!(
            stopped.line(&Line::Total(total)).ends_with("2 h ago; no server runs, so nothing is tried\n")
        );
        assert_eq!(stopped.line(&Line::Total(Total::default())), "Nothing waits\n");
    }
}
