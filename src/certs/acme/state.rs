//! What is remembered of each name, and where: `state_dir/tls/acme/NAME.pem` and `NAME.json`.
//!
//! They have a directory of their own, since a host may be called `key`.

use crate::certs::durable;
use crate::mail::address::Domain;
use crate::policy::renewal::{self, Life, Window};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// What is remembered of one name. Whoever reads an older or newer file finds defaults for what is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The directory of the authority that the certificate is from.
    pub directory: Option<String>,
    /// When the last attempts began, in their order; no more than are counted.
    pub attempts: Vec<i64>,
    /// Attempts in a row that brought nothing, one that runs included.
    pub failures: u32,
    /// No attempt before this.
    pub next: i64,
    /// Whether an attempt began whose end is not recorded.
    pub running: bool,
    /// The order that was begun and is not done with.
    pub order: Option<Begun>,
    /// The last failure, while nothing good came after it.
    pub failure: Option<Past>,
    /// When a certificate was last gained.
    pub success: Option<i64>,
    /// When the authority wants the certificate renewed.
    pub window: Option<Asked>,
    /// No question about that before this.
    pub ask: i64,
}

/// An order that an authority knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The authority's directory.
    pub directory: String,
    /// The order's own URL.
    pub url: String,
    /// The attempts that worked at it.
    pub tries: u32,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// When, in Unix seconds.
    pub at: i64,
    /// In words.
    pub why: String,
}

/// An authority's window for one certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The certificate's fingerprint, in hexadecimal digits.
    pub of: String,
    /// The window.
    pub window: Window,
}

/// The files of one name.
#[derive(Clone, Debug)]
pub struct Files {
    /// The chain.
    pub chain: PathBuf,
    /// The state.
    pub state: PathBuf,
}

/// The directory of what belongs to names.
pub fn directory_in(tls: &Path) -> PathBuf {
    tls.join("acme")
}

impl Files {
    /// In `state_dir/tls`.
    pub fn of(tls: &Path, name: &Domain) -> Files {
        let directory = directory_in(tls);
        Files { chain: directory.join(format!("{name}.pem")), state: directory.join(format!("{name}.json")) }
    }
}

impl State {
    /// What is kept; a default where nothing is. One that cannot be read is reported, and taken for one that has just
    /// failed: what it would have held us back from is not known.
    pub fn load(files: &Files, now: i64) -> State {
        let path = files.state.display();
        let unknown = |error: String| {
            tracing::warn!("{path}: {error}; what happened before is not known, so it is begun with a wait");
            State { failures: 1, next: now.saturating_add(renewal::wait(1, None, None)), ..State::default() }
        };
        match std::fs::read(&files.state) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| unknown(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => State::default(),
            Err(error) => unknown(error.to_string()),
        }
    }

    /// Durable when it returns. Blocks.
    pub fn store(&self, files: &Files) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        durable::write(&files.state, &text)
    }

    /// Notes that an attempt begins: from here on it counts as one that failed, until its end says otherwise. Were the server
    /// killed in the middle of each attempt, it would come back ever later, and no more than [`renewal::ATTEMPTS`] times in an hour.
    pub fn begin(&mut self, now: i64, life: Option<&Life>) {
        self.attempts.retain(|at| *at <= now);
        let surplus = (self.attempts.len() + 1).saturating_sub(renewal::ATTEMPTS);
        self.attempts.drain(..surplus);
        self.attempts.push(now);
        self.failures = self.failures.saturating_add(1);
        self.next = now.saturating_add(renewal::wait(self.failures, span(life), None));
        self.running = true;
    }

    /// Notes that it failed.
    pub fn fail(&mut self, now: i64, life: Option<&Life>, why: String, imposed: Option<i64>) {
        self.next = now.saturating_add(renewal::wait(self.failures.max(1), span(life), imposed));
        self.running = false;
        self.failure = Some(Past { at: now, why });
    }

    /// Notes that it gained a certificate.
    pub fn succeed(&mut self, now: i64, directory: &str) {
        *self = State {
            directory: Some(directory.to_owned()),
            attempts: std::mem::take(&mut self.attempts),
            success: Some(now),
            // The first question about it may be asked at once.
            ..State::default()
        };
    }

    /// From when on an attempt may be made. One that was interrupted is taken up again sooner than one that failed.
    pub fn earliest(&self, now: i64, life: Option<&Life>) -> i64 {
        let mut next = self.next;
        if let (true, Some(last)) = (self.running, self.attempts.last()) {
            next = last.saturating_add(renewal::wait_after_interruption(self.failures, span(life)));
        }
        // Its own time where that has passed: who has waited longest comes first.
        let next = if renewal::has_come(next, now) { next.min(now) } else { next };
        next.max(self.allowed_from(now, life))
    }

    /// From when on one may be made that the owner asks for.
    pub fn allowed_from(&self, now: i64, life: Option<&Life>) -> i64 {
        renewal::allowed_from(&self.attempts, span(life), now)
    }
}

fn span(life: Option<&Life>) -> Option<i64> {
    life.map(|life| life.end.saturating_sub(life.begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn files() -> (tempfile::TempDir, Files) {
        let directory = tempfile::tempdir().unwrap();
        durable::make_directory(&directory_in(directory.path())).unwrap();
        let files = Files::of(directory.path(), &Domain::parse("mx.here.example").unwrap());
        (directory, files)
    }

    #[test]
    fn it_comes_back_as_it_was() {
        let (_directory, files) = files();
        assert_eq!(State::load(&files, NOW), State::default());
        let mut state = State { directory: Some("https://ca.example/".into()), ..State::default() };
        state.begin(NOW, None);
        state.order =
            Some(Begun { directory: "https://ca.example/".into(), url: "https://o/".into(), tries: 1 });
        state.fail(NOW, None, "no".into(), None);
        state.store(&files).unwrap();
        assert_eq!(State::load(&files, NOW), state);
    }

    #[test]
    fn one_that_is_torn_is_begun_with_a_wait() {
        let (_directory, files) = files();
        std::fs::write(&files.state, "{\"next\": ").unwrap();
        assert_eq!(State::load(&files, NOW).earliest(NOW, None), NOW + 300);
    }

    #[test]
    fn being_killed_in_every_attempt_brings_us_back_ever_later_and_five_times_an_hour_at_most() {
        let (mut state, mut now, mut begun) = (State::default(), NOW, Vec::new());
        while now < NOW + 2 * 3600 {
            if state.earliest(now, None) <= now {
                state.begin(now, None);
                begun.push(now - NOW);
            }
            now += 1;
        }
        assert_eq!(begun[..5], [0, 10, 30, 70, 150]);
        assert!(begun.windows(6).all(|six| six[5] - six[0] >= 3600), "{begun:?}");
    }

    #[test]
    fn failures_wait_longer_each_time_and_a_success_ends_that() {
        let mut state = State::default();
        for wait in [300, 600, 1200] {
            state.begin(NOW, None);
            state.fail(NOW, None, "no".into(), None);
            assert_eq!(state.earliest(NOW, None), NOW + wait);
        }
        assert!(state.allowed_from(NOW, None) <= NOW, "the owner need not wait");
        state.begin(NOW, None);
        state.fail(NOW, None, "no".into(), Some(7000));
        assert_eq!(state.earliest(NOW, None), NOW + 7000, "but for what the authority says");
        state.begin(NOW, None);
        assert_eq!(state.allowed_from(NOW, None), NOW + 3600, "five an hour, whoever asks");
        state.succeed(NOW, "https://ca.example/");
        assert_eq!((state.failures, state.attempts.len()), (0, 5));
    }
}
