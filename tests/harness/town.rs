//! Our server beside the servers that it relays to, and what it says of each letter.

use super::home::{Home, letter};
use super::mx::Mx;
use super::signed::{Resolver, Signed, Zone};
use super::wire::Wire;
use super::{Plan, Server, eventually};
use serde_json::Value;
use std::sync::Arc;

/// The author of all letters.
pub const ME: &str = "me@here.example";

/// The real binary with an author who sends.
pub struct Town {
    pub server: Server,
    home: Arc<Home>,
}

impl Town {
    /// With `[dns]` and other tables; `home` must have its key there.
    pub fn start(home: &Arc<Home>, dns: &str, more: &str) -> Town {
        let server = Plan::new("mx.here.example", &[ME]).with(more).start_with(dns);
        Town { server, home: Arc::clone(home) }
    }

    /// The author and the zone that he is known by.
    pub fn author() -> (Arc<Home>, Zone) {
        let (home, key) = Home::with_key(ME);
        (Arc::new(home), Zone::unsigned("here.example", &format!("@ MX 10 mx\nmx A 127.0.0.1\n{key}")))
    }

    /// Submits one letter.
    #[track_caller]
    pub fn send(&self, to: &[&str], subject: &str) {
        let (mut wire, name) = Wire::greeted(self.server.submission());
        let letter = self.home.sealed(&letter(ME, to[0], subject), &name, to);
        let reply = wire.transact(ME, to, &letter);
        assert!(reply.starts_with("250"), "{to:?}: {reply}");
    }

    /// What the log says of the letter for this recipient, once it is `relayed` or `put off`.
    pub fn fate(&self, to: &str) -> Value {
        let told = |line: &Value| matches!(line["message"].as_str(), Some("relayed" | "put off"));
        eventually(&format!("the fate of the letter to {to}"), || {
            self.log().into_iter().rev().find(|line| line["to"] == to && told(line))
        })
    }

    /// What protected the letter on its way; it must have been relayed.
    #[track_caller]
    pub fn relayed(&self, to: &str) -> String {
        let find = || self.log().into_iter().find(|line| line["to"] == to && line["message"] == "relayed");
        eventually(&format!("the letter to {to} relayed"), find)["tls"].as_str().unwrap().to_owned()
    }

    /// Why the letter was put off; it must have been.
    #[track_caller]
    pub fn put_off(&self, to: &str) -> String {
        let fate = self.fate(to);
        assert_eq!(fate["message"], "put off", "{fate}");
        fate["reason"].as_str().unwrap().to_owned()
    }

    /// Holds the fate of the letter with this subject, to this recipient at this server, against what was to become of it;
    /// `host` is the name that the server is to be asked for.
    pub fn judge(&self, server: &Mx, subject: &str, to: &str, host: &str, end: End) -> Result<(), String> {
        let fate = self.fate(to);
        let letter = server.letters().into_iter().find(|letter| letter.text.contains(subject));
        let said = fate["tls"].as_str().or(fate["reason"].as_str()).unwrap_or_default();
        let relayed = fate["message"] == "relayed";
        let fault = match (end, letter) {
            (End::Private(words) | End::Clear(words), Some(_)) if !relayed || !said.contains(words) => {
                format!("not relayed with {words:?}")
            }
            (End::Private(_), Some(letter))
                if letter.tls.is_none() || letter.sni.as_deref() != Some(host) =>
            {
                format!("arrived under {:?} for {:?}, not {host}", letter.tls, letter.sni)
            }
            (End::Clear(_), Some(letter)) if letter.tls.is_some() => "arrived under TLS".into(),
            (End::Private(_) | End::Clear(_), None) => "did not arrive".into(),
            (End::Waits(_), Some(letter)) => format!("arrived: {letter:?}"),
            (End::Waits(words), None) if relayed || words.iter().any(|word| !said.contains(word)) => {
                format!("does not wait with {words:?}")
            }
            (End::Private(_) | End::Waits(_), _) if server.took_in_clear() => {
                format!("in clear: {:?}", server.heard_in_clear())
            }
            _ => return Ok(()),
        };
        Err(format!("{subject}: {fault}: {fate}"))
    }

    /// Its log, line by line.
    pub fn log(&self) -> Vec<Value> {
        self.server.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What `queue list` says of who waits.
    pub fn waiting(&self) -> Vec<Value> {
        let output = self.server.command(&["queue", "list", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
        let lines = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter_map(|mut line| line.get_mut("waiting").map(Value::take)).collect()
    }

    /// What `queue show` says of the letter that this recipient waits for.
    #[track_caller]
    pub fn shown(&self, to: &str) -> Value {
        let waiting = self.waiting();
        let found = waiting.iter().find(|waiting| waiting["recipient"] == to);
        let id = found.unwrap_or_else(|| panic!("{to} does not wait: {waiting:?}"))["id"].as_str().unwrap();
        let output = self.server.command(&["queue", "show", id, "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// `queue retry` of all that waits.
    pub fn retry(&self) {
        let output = self.server.command(&["queue", "retry"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The same after a restart.
    pub fn again(self) -> Town {
        Town { server: self.server.again(), home: self.home }
    }
}

/// What becomes of a letter.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// It is delivered under TLS, and the log says this of it.
    Private(&'static str),
    /// It is delivered in clear, and the log says this of it.
    Clear(&'static str),
    /// It waits with a reason that has these words in it, and nothing of it was said in clear.
    Waits(&'static [&'static str]),
}

/// A world with DNSSEC, and servers of ours in it.
pub struct World {
    /// Each with how it knows what DNSSEC says.
    pub towns: [(&'static str, Town); 3],
    pub signed: Signed,
    _resolver: Resolver,
}

impl World {
    /// With these zones; `spoil` breaks what is to be broken before anybody asks.
    pub fn start(zones: &[Zone], relay: &str, spoil: impl FnOnce(&mut Signed)) -> World {
        let (home, own) = Town::author();
        let mut signed = Signed::start(&[zones, &[own]].concat());
        spoil(&mut signed);
        let resolver = signed.resolver();
        let town = |dns: String| Town::start(&home, &dns, relay);
        // A resolver on the same machine is believed without a word.
        let silent = resolver.trust().replace("dnssec = \"trust\"", "");
        let towns = [
            ("validate", town(signed.validate())),
            ("trust", town(resolver.trust())),
            ("nothing set", town(silent)),
        ];
        World { towns, signed, _resolver: resolver }
    }
}
