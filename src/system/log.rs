//! Where log lines go, on stderr: text on a terminal and under systemd, JSON lines otherwise.

use std::fmt;
use std::io::IsTerminal;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging at the level that `PILLARBOX_LOG` names (`debug`, or `pillarbox::relay=trace,info`), else at
/// `default`. With neither, nothing is logged: a program that mailers call owes them one line on stderr and no more.
pub fn start(default: Option<&str>) {
    let asked = std::env::var("PILLARBOX_LOG").ok().filter(|asked| !asked.is_empty());
    let Some(level) = asked.as_deref().or(default) else { return };
    let (filter, complaint) = match EnvFilter::try_new(level) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    let registry = tracing_subscriber::registry().with(filter);
    // Fails only where a log was started before; that one stays.
    let _ = if stderr_is_journal() {
        let lines = tracing_subscriber::fmt::layer().event_format(ForJournal).with_ansi(false);
        registry.with(lines.with_writer(std::io::stderr)).try_init()
    } else if std::io::stderr().is_terminal() {
        let text = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
        registry.with(text).try_init()
    } else {
        let json = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
        registry.with(json).try_init()
    };
    if let Some(error) = complaint {
        tracing::warn!("PILLARBOX_LOG={level}: {error}; logging at info");
    }
}

/// One line with all that there is to say, which `journalctl` shows as it is; of fields of the journal's own it would show
/// none unless it is asked to. The number in front is the priority (sd-daemon(3)).
pub(crate) struct ForJournal;

impl<S, N> FormatEvent<S, N> for ForJournal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        let mut line = String::new();
        context.format_fields(Writer::new(&mut line), event)?;
        // Whatever a stranger got into it, it stays one line.
        let line = line.replace(|c: char| c.is_control(), " ");
        writeln!(writer, "<{priority}>{line}")
    }
}

/// systemd sets JOURNAL_STREAM to `device:inode` of the journal's socket; a child whose stderr was redirected since
/// inherits the variable but not the socket (systemd.exec(5)).
fn stderr_is_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = rustix::fs::fstat(std::io::stderr()) else { return false };
    named == format!("{}:{}", stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

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

    #[test]
    fn the_journal_shows_everything_on_one_line() {
        let shown = Shown::default();
        let writer = shown.clone();
        let lines = tracing_subscriber::fmt::layer().event_format(ForJournal).with_ansi(false);
        let registry = tracing_subscriber::registry().with(lines.with_writer(move || writer.clone()));
        tracing::subscriber::with_default(registry, || {
            let to = "you@there.example\n<0>forged";
            tracing::info!(%to, reason = "450 later", again_in = 300, "put off");
            tracing::warn!("given up");
        });
        let text = String::from_utf8(shown.0.lock().unwrap().clone()).unwrap();
        assert_eq!(
            text,
            "<6>put off to=you@there.example <0>forged reason=\"450 later\" again_in=300\n<4>given up\n"
        );
    }
}
