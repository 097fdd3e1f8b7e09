//! What a filter is told of a letter, beside the letter.

use crate::mail::address::{Address, Domain};
use crate::policy::inbound::Ruling;
use crate::policy::results::dkim_result;
use crate::server::examine::Examined;
use crate::server::recipients::Finished;

/// The most octets of one variable; the kernel takes 128 KiB.
const VALUE_MAX: usize = 4 << 10;
/// The most octets of all recipients.
const RECIPIENTS_MAX: usize = 64 << 10;

/// The evidence, each as a text; empty where nothing is known.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The id that the log knows the letter by.
    pub id: String,
    /// The envelope's sender, without brackets; empty for `<>`.
    pub from: String,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// The client's address.
    pub ip: String,
    /// What it called itself.
    pub helo: String,
    /// The name of that address, if it points back.
    pub rdns: String,
    /// SPF's result (RFC 7208 section 2.6).
    pub spf: String,
    /// A result, domain and selector for each signature that was looked at: `pass example.net s1`.
    pub dkim: Vec<String>,
    /// DMARC's result.
    pub dmarc: String,
    /// Whether it goes among the junk by what is known so far.
    pub junk: bool,
    /// Why, in words.
    pub why: String,
    /// Octets of the message as it came.
    pub size: u64,
    /// Our name.
    pub hostname: String,
}

impl About {
    /// Of a letter that was examined and may come in.
    pub fn of(id: &str, done: &Finished, examined: &Examined) -> About {
        let evidence = &examined.evidence;
        let signatures = evidence.signatures.iter().map(|one| {
            let (result, _) = dkim_result(&one.verdict);
            format!("{result} {} {}", one.domain, one.selector)
        });
        About {
            id: id.to_owned(),
            from: done.sender.sender.path.address().map(Address::to_string).unwrap_or_default(),
            to: done.recipients.iter().map(|known| known.recipient.address.to_string()).collect(),
            ip: evidence.peer.ip.to_string(),
            helo: evidence.peer.helo.clone(),
            rdns: evidence.peer.name.confirmed().map(Domain::to_string).unwrap_or_default(),
            spf: evidence.spf.result.word().to_owned(),
            dkim: signatures.collect(),
            dmarc: evidence.dmarc().map(|one| one.result.word().to_owned()).unwrap_or_default(),
            junk: examined.decision.ruling == Ruling::Junk,
            why: examined.sentence(),
            size: done.facts.size,
            hostname: done.premises.name.to_string(),
        }
    }

    /// As variables of an environment. What strangers said is made harmless: controls become `?`, and long values are cut.
    /// Recipients stand on a line each, as many as there is room for.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let verdict = if self.junk { "junk" } else { "accept" };
        let of = |name: &str, value: &str| (format!("PILLARBOX_{name}"), harmless(value, VALUE_MAX));
        let dkim: Vec<String> = self.dkim.iter().map(|one| one.replace(';', "?")).collect();
        vec![
            of("ID", &self.id),
            of("FROM", &self.from),
            ("PILLARBOX_TO".into(), recipients(&self.to)),
            of("IP", &self.ip),
            of("HELO", &self.helo),
            of("RDNS", &self.rdns),
            of("SPF", &self.spf),
            of("DKIM", &dkim.join(";")),
            of("DMARC", &self.dmarc),
            of("VERDICT", verdict),
            of("WHY", &self.why),
            of("SIZE", &self.size.to_string()),
            of("HOSTNAME", &self.hostname),
        ]
    }
}

fn harmless(text: &str, limit: usize) -> String {
    let mut kept = text.replace(|c: char| c.is_control(), "?");
    let end = (0..=limit.min(kept.len())).rev().find(|end| kept.is_char_boundary(*end));
    kept.truncate(end.unwrap_or(0));
    kept
}

fn recipients(all: &[String]) -> String {
    let mut lines = String::new();
    for one in all {
        let line = harmless(one, VALUE_MAX);
        if lines.len() + 1 + line.len() > RECIPIENTS_MAX {
            break;
        }
        if !lines.is_empty() {
            lines.push('\n');
        }
        lines.push_str(&line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(about: &About, name: &str) -> String {
        let name = format!("PILLARBOX_{name}");
        about.environment().into_iter().find(|(known, _)| *known == name).unwrap().1
    }

    #[test]
    fn strangers_words_are_values_and_nothing_else() {
        let about = About {
            helo: "a\0b\nPILLARBOX_VERDICT=accept\x1b[m\u{85}é".into(),
            to: vec!["\"a\nb\"@x.example".into(), "c@x.example".into()],
            dkim: vec!["pass a.example s;x".into(), "fail b.example t".into()],
            junk: true,
            why: "x".repeat(9000),
            ..About::default()
        };
        assert_eq!(value(&about, "HELO"), "a?b?PILLARBOX_VERDICT=accept?[m?é");
        assert_eq!(value(&about, "TO"), "\"a?b\"@x.example\nc@x.example");
        assert_eq!(value(&about, "DKIM"), "pass a.example s?x;fail b.example t");
        assert_eq!((value(&about, "VERDICT").as_str(), value(&about, "FROM").as_str()), ("junk", ""));
        assert_eq!(value(&about, "WHY").len(), VALUE_MAX);
        assert_eq!(harmless("aé", 2), "a");
    }

    #[test]
    fn any_number_of_recipients_fits() {
        let to: Vec<String> = (0..100_000).map(|n| format!("recipient{n}@here.example")).collect();
        let told = value(&About { to, ..About::default() }, "TO");
        assert!(told.len() <= RECIPIENTS_MAX && told.ends_with("@here.example"), "{}", told.len());
    }
}
