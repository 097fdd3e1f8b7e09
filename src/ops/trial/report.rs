//! What the trial tells.

use super::cases::Case;
use super::letters::Way;
use super::town::{FRIEND, ME, Places};
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;

/// The whole result; `--json` prints it as it is.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The eight cases.
    pub cases: Vec<Case>,
    /// The letter in and the letter out.
    pub letters: Vec<Way>,
    /// Whether all went as it should.
    pub ok: bool,
}

impl Report {
    /// All is well when each is.
    pub fn new(cases: Vec<Case>, letters: Vec<Way>) -> Report {
        let ok = cases.iter().all(|case| case.ok) && letters.iter().all(|way| way.ok);
        Report { cases, letters, ok }
    }

    /// For people.
    pub fn table(&self, took: Duration) -> String {
        let mut text = String::from("Who may send what to whom, and through which door:\n\n");
        for case in &self.cases {
            let Case { door, from, to, reply, expected, .. } = case;
            let mark = mark(case.ok);
            let _ = writeln!(
                text,
                "{mark} {} {door:<10}  {from:<20}  → {to:<20}  {expected:<7}  {reply}",
                case.case
            );
        }
        text.push_str("\nOne letter each way:\n\n");
        for way in &self.letters {
            let road = match way.way {
                "in" => "in   stranger → our server → pulled home ",
                _ => "out  home → our server → stranger's server",
            };
            let place = way.path.as_ref().map(|path| path.display().to_string());
            let end = place.or_else(|| way.why.clone()).unwrap_or_default();
            let _ = writeln!(text, "{} {road:<42}  {end}", mark(way.ok));
        }
        let verdict = if self.ok { "All is well" } else { "Not all is well" };
        let _ = writeln!(text, "\n{verdict}, in {:.1} s.", took.as_secs_f64());
        text
    }
}

/// What to paste while the town stands.
pub fn lines_to_paste(places: &Places) -> String {
    let program = places.program.display();
    let at = |path: &str| places.at(path).display().to_string();
    let (home, dns) = (at("home.toml"), places.dns);
    format!(
        "
The town stands until Ctrl-C. In another terminal:

# a stranger writes to you
swaks --server {mx} --ehlo mx.there.example --from {FRIEND} --to {ME}
# take it home
{program} --config {home} pull
# read it, and answer
mutt -e 'set sendmail=\"{program} --config {home} sendmail\" use_envelope_from=yes from={ME}' -f {inbox}
# write to the stranger without mutt
printf 'Subject: hello\\n\\nIt works.\\n' | {program} --config {home} sendmail {FRIEND}
# what the stranger got
ls {stranger}
# the article's way home, from the same Maildirs
rsync -av --remove-source-files --exclude=/tmp {server}/ {rsynced}/
# ask the name server
dig @{ip} -p {port} me._domainkey.here.example TXT
# the logs
tail -f {log}
",
        mx = places.mx,
        inbox = at("home/mail/here.example/me"),
        stranger = at("stranger/mail/there.example/friend/new"),
        server = at("server/mail/here.example/me"),
        rsynced = at("rsynced"),
        ip = dns.ip(),
        port = dns.port(),
        log = at("server.log"),
    )
}

fn mark(ok: bool) -> char {
    if ok { '✓' } else { '✗' }
}
