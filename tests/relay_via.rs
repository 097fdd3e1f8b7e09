//! Everything by way of one server, with a login, for those whose provider blocks port 25: the real binary, a server with a
//! certificate, and its password in a file and from a command.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

mod harness;

use harness::home::Home;
use harness::mx::{self, Mx, StartTls};
use harness::pki::Pki;
use harness::town::{ME, Town};
use harness::{Dns, ZONE};
use std::sync::Arc;

const ISP: &str = "smtp.isp.example";
const PASSWORD: &str = "geheim";
/// `\0me\0geheim`.
const RIGHT: &str = "AG1lAGdlaGVpbQ==";

/// A server that wants a login, and ours beside it, which may connect to no other private address.
struct Scene {
    isp: Mx,
    town: Town,
    _dns: Dns,
}

impl Scene {
    fn new(login: &str) -> Scene {
        let pki = Pki::new();
        let isp = Mx::start(StartTls::Login(pki.host(&[ISP]), RIGHT));
        let dns = Dns::start(&format!("{ZONE}{ISP}. 60 IN A {}\n", isp.ip));
        let home = Arc::new(Home::new(&dns, ME));
        let relay = format!(
            "[relay]\nvia = \"{ISP}:{}\"\nroots = {:?}\nuser = \"me\"\n{login}\n",
            mx::port(),
            pki.roots()
        );
        let servers = format!("[dns]\nservers = [\"{}\"]\n", dns.address());
        Scene { isp, town: Town::start(&home, &servers, &relay), _dns: dns }
    }

    #[track_caller]
    fn keeps_the_secret(&self) {
        let log = self.town.server.log();
        assert!(!log.contains(PASSWORD) && !log.contains(RIGHT), "{log}");
        let clear = self.isp.heard_in_clear();
        assert!(!clear.iter().any(|line| line.starts_with("AUTH")) && !self.isp.took_in_clear(), "{clear:?}");
    }
}

#[test]
fn every_domain_goes_by_way_of_the_one_server_with_the_password_of_a_command() {
    let scene = Scene::new(&format!("password_command = [\"echo\", \"{PASSWORD}\"]"));
    // Nobody is where these lead to.
    for to in ["friend@there.example", "friend@mx.here.example", "friend@[192.0.2.1]"] {
        scene.town.send(&[to], &format!("<{to}>"));
        assert!(scene.town.relayed(to).ends_with(", verified"));
        let letter = scene.isp.letter(&format!("<{to}>"));
        assert_eq!((letter.to, letter.sni.as_deref()), (vec![to.to_owned()], Some(ISP)));
    }
    scene.keeps_the_secret();
}

#[test]
fn with_a_wrong_password_letters_wait_and_with_the_right_one_they_go() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "falsch\n").unwrap();
    let scene = Scene::new(&format!("password_file = {:?}", file.path()));
    let to = "friend@there.example";
    scene.town.send(&[to], "<for a friend>");
    let why = scene.town.put_off(to);
    assert!(why.contains("535 5.7.8 who?") && why.contains("relay.password_file"), "{why}");
    assert!(!why.contains("falsch") && scene.isp.letters().is_empty(), "{why}");

    // It is read anew, without a restart.
    std::fs::write(file.path(), format!("{PASSWORD}\n")).unwrap();
    scene.town.retry();
    assert!(scene.town.relayed(to).ends_with(", verified"));
    assert_eq!(scene.isp.letter("<for a friend>").to, [to]);
    scene.keeps_the_secret();
}
