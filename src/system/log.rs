//! Where log lines go: text on a terminal, the journal under systemd, JSON lines on stderr otherwise.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
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
    let _ = if let Some(journal) = stderr_is_journal().then(tracing_journald::layer).and_then(Result::ok) {
        registry.with(journal.with_syslog_identifier("pillarbox".into())).try_init()
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

/// systemd sets JOURNAL_STREAM to `device:inode` of the journal's socket; a child whose stderr was redirected since
/// inherits the variable but not the socket (systemd.exec(5)).
fn stderr_is_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = rustix::fs::fstat(std::io::stderr()) else { return false };
    named == format!("{}:{}", stat.st_dev, stat.st_ino)
}
