//! Certificates that another program renews: read anew while the doors are in use, refused where they are worse, and told of by
//! `pillarbox cert`.

mod harness;

use harness::certbot::{Certbot, Client, Way};
use harness::pki::{Pki, Shown};
use harness::{Dns, Plan, Server, ZONE, eventually, runtime};
use pillarbox::net::tls::TlsClient;
use pillarbox::net::tls::pair::Facts;
use serde_json::Value;
use std::fs;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

const ME: &str = "me@here.example";
const MX: &str = "mx.here.example";

fn server(dns: &Dns, tls: &str) -> Server {
    Plan::new(MX, &[ME]).with_submissions().with(tls).start(dns)
}

fn tls() -> TlsClient {
    TlsClient::new(None).unwrap()
}

/// What is shown to whoever asks for `name` now.
fn shown(way: Way, name: &str) -> Facts {
    runtime().block_on(async { Client::connect(&tls(), way, name).await.unwrap().facts() })
}

fn facts(shown: &Shown) -> Facts {
    let directory = tempfile::tempdir().unwrap();
    let (chain, key) = (directory.path().join("chain"), directory.path().join("key"));
    shown.write(&chain, &key);
    pillarbox::net::tls::pair::Pair::from_pem(&fs::read(chain).unwrap(), &fs::read(key).unwrap())
        .unwrap()
        .facts
}

fn becomes_shown(way: Way, wanted: &Facts) {
    eventually("the new certificate", || (shown(way, MX).key == wanted.key).then_some(()));
}

/// Lines of the log with this in them.
fn logged(server: &Server, text: &str) -> Vec<String> {
    server.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn status(server: &Server) -> (Option<i32>, Value) {
    let output = server.command(&["cert", "status", "--json"]);
    let value = serde_json::from_slice(&output.stdout);
    (output.status.code(), value.unwrap_or_else(|error| panic!("{error}: {}", said(&output))))
}

/// What `cert status` found at a door, for a name.
fn found(status: &Value, door: &str, name: &str) -> Value {
    let served = status["served"].as_array().unwrap();
    let of_it = |one: &&Value| one["door"] == door && one["name"] == name;
    served.iter().find(of_it).unwrap_or_else(|| panic!("{status}"))["found"].clone()
}

/// Clients that come, and go, all the time.
struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU32>,
    clients: Vec<tokio::task::JoinHandle<std::io::Result<()>>>,
}

impl Load {
    fn start(way: Way) -> Load {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let tls = tls();
        let client = |_| {
            let (tls, stop, served) = (tls.clone(), Arc::clone(&stop), Arc::clone(&served));
            runtime().spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    visit(&tls, way).await?;
                    served.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        };
        Load { clients: (0..4).map(client).collect(), stop: Arc::clone(&stop), served: Arc::clone(&served) }
    }

    /// How many visits there were, none of which failed.
    fn end(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            runtime().block_on(client).unwrap().unwrap();
        }
        self.served.load(Ordering::Relaxed)
    }
}

/// A stranger brings a letter; whoever comes by the owner's door only looks in.
async fn visit(tls: &TlsClient, way: Way) -> std::io::Result<()> {
    let mut client = Client::connect(tls, way, MX).await?;
    if let Way::StartTls(_) = way {
        client.ask("MAIL FROM:<friend@there.example>", "250").await?;
        client.ask("RCPT TO:<me@here.example>", "250").await?;
        client.ask("DATA", "354").await?;
        client.ask("From: friend@there.example\r\nSubject: under load\r\n\r\nHello.\r\n.", "250").await?;
    } else {
        client.ask("NOOP", "250").await?;
    }
    client.ask("QUIT", "221").await
}

/// Three pairs, one after the other, while clients come and go: how many came is returned.
fn renewals_under_load(way: impl Fn(&Server) -> Way) -> (Server, Certbot, u32) {
    let (dns, pki) = (Dns::start(ZONE), Pki::new());
    let renewals = [(); 3].map(|()| pki.host(&[MX]));
    let certbot = Certbot::new(MX, &renewals[0]);
    let server = server(&dns, &certbot.toml());
    let way = way(&server);
    let load = Load::start(way);
    let old = runtime().block_on(Client::connect(&tls(), way, MX)).unwrap();
    assert_eq!(old.facts().key, facts(&renewals[0]).key);
    certbot.renew(2, &renewals[1]);
    becomes_shown(way, &facts(&renewals[1]));
    // Half of it is there for longer than a look.
    certbot.store(3, &renewals[2]);
    certbot.link("privkey", 3);
    let before = load.served.load(Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(2500));
    certbot.link("fullchain", 3);
    becomes_shown(way, &facts(&renewals[2]));
    let served = load.end();
    assert!(before > 0 && served > before, "{before} {served}");
    // Who came first has seen nothing of it.
    let mut old = old;
    assert_eq!(old.facts().key, facts(&renewals[0]).key);
    runtime().block_on(old.ask("NOOP", "250")).unwrap();
    let taken = logged(&server, "a certificate is shown");
    assert_eq!(taken.len(), 3, "{taken:?}");
    for (line, renewal) in taken.iter().zip(&renewals) {
        assert!(line.contains(MX) && line.contains(&renewal.own().tlsa(3, 1, 1)), "{line}");
    }
    assert_eq!(logged(&server, "is not taken"), Vec::<String>::new());
    (server, certbot, served)
}

#[test]
fn renewals_are_shown_to_who_comes_and_nobody_is_dropped() {
    renewals_under_load(|server| Way::Implicit(server.submissions()));
}

#[test]
fn renewals_are_shown_by_starttls_and_no_letter_is_lost() {
    let (server, _certbot, visits) = renewals_under_load(|server| Way::StartTls(server.mx()));
    assert_eq!(server.letters("here.example/me").len(), visits as usize);
    let (exit, status) = status(&server);
    assert_eq!((exit, found(&status, "mx", MX)), (Some(0), "same".into()), "{status}");
    assert_eq!((&status["ok"], &status["wrong"]), (&true.into(), &serde_json::json!([])));
}

#[test]
fn a_bad_new_pair_is_refused_with_its_reason_and_the_old_one_kept() {
    let (dns, pki) = (Dns::start(ZONE), Pki::new());
    let first = pki.host(&[MX]);
    let certbot = Certbot::new(MX, &first);
    let server = server(&dns, &certbot.toml());
    let way = Way::Implicit(server.submissions());
    let (fullchain, privkey) = (certbot.live("fullchain.pem"), certbot.live("privkey.pem"));
    let other_key = |number: u32| {
        certbot.store(number, &pki.host(&[MX]));
        certbot.link("privkey", number);
    };
    let replace = |path: &std::path::Path, text: &[u8]| {
        fs::remove_file(path).unwrap();
        fs::write(path, text).unwrap();
    };
    type Step<'a> = (&'a dyn Fn(), &'a str);
    let steps: [Step; 7] = [
        (&|| certbot.renew(2, &pki.expired(&[MX])), "it expired"),
        (
            &|| certbot.renew(3, &pki.host(&["www.here.example"])),
            "it is for www.here.example, the old one is for mx.here.example",
        ),
        (&|| other_key(4), "not that of the first certificate"),
        (&|| replace(&privkey, b"-----BEGIN PRIVATE KEY-----\nMIG"), "no PEM private key"),
        (&|| replace(&fullchain, &vec![b'x'; 2 << 20]), "larger than 1 MiB"),
        (
            &|| {
                fs::remove_file(&fullchain).unwrap();
                assert!(Command::new("mkfifo").arg(&fullchain).status().unwrap().success());
            },
            "this is no file",
        ),
        (&|| fs::remove_dir_all(certbot.top()).unwrap(), "No such file"),
    ];
    for (count, (make, why)) in steps.into_iter().enumerate() {
        make();
        let output = server.command(&["cert", "renew"]);
        let told = said(&output);
        assert_eq!(output.status.code(), Some(75), "{told}");
        assert!(told.contains(why) && told.contains(fullchain.to_str().unwrap()), "{told}, not {why}");
        assert!(told.contains("the old one, valid until"), "{told}");
        let lines = logged(&server, "is not taken");
        assert!(lines.len() == count + 1 && lines[count].contains(why), "{lines:#?}");
        assert_eq!(shown(way, MX).key, facts(&first).key, "{why}");
        let (exit, status) = status(&server);
        assert_eq!(exit, Some(69), "{status}");
        let wrong = status["wrong"].to_string();
        assert!(
            wrong.contains("expired") || wrong.contains("does not show") || wrong.contains(why),
            "{wrong}"
        );
    }
    assert_eq!(logged(&server, "is not taken").len(), 7);
}

#[test]
fn a_pair_that_does_not_fit_for_long_is_told_of_once_without_being_asked() {
    let (dns, pki) = (Dns::start(ZONE), Pki::new());
    let certbot = Certbot::new(MX, &pki.host(&[MX]));
    let server = server(&dns, &certbot.toml());
    certbot.store(2, &pki.host(&[MX]));
    certbot.link("privkey", 2);
    let line = eventually("a line", || logged(&server, "is not taken").pop());
    assert!(
        line.contains("live/mx.here.example/privkey.pem") && line.contains("the old one, valid until"),
        "{line}"
    );
    assert!(line.contains("\"WARN\""), "{line}");
    server.command(&["cert", "renew"]);
    assert_eq!(logged(&server, "is not taken").len(), 1);
}

#[test]
fn a_server_without_a_usable_pair_starts_with_its_own_and_takes_the_pair_when_it_is_mended() {
    let (dns, pki) = (Dns::start(ZONE), Pki::new());
    let first = pki.host(&[MX]);
    let certbot = Certbot::new(MX, &first);
    fs::remove_file(certbot.live("privkey.pem")).unwrap();
    let server = server(&dns, &certbot.toml());
    let way = Way::Implicit(server.submissions());
    assert!(shown(way, MX).self_signed);
    let line = logged(&server, "a certificate cannot be used").pop().unwrap();
    assert!(line.contains("privkey.pem: No such file") && line.contains("our own certificate"), "{line}");
    assert!(line.contains("\"ERROR\""), "{line}");
    let (exit, status) = status(&server);
    assert_eq!((exit, found(&status, "submissions", MX)), (Some(69), "same".into()), "{status}");
    assert!(status["certificates"][0]["fault"].as_str().unwrap().contains("privkey.pem"), "{status}");
    certbot.link("privkey", 1);
    becomes_shown(way, &facts(&first));
    assert_eq!(logged(&server, "cannot be used").len(), 1);
}

#[test]
fn one_that_has_expired_is_shown_all_the_same_and_told_of() {
    let (dns, pki) = (Dns::start(ZONE), Pki::new());
    let old = pki.expired(&[MX]);
    let certbot = Certbot::new(MX, &old);
    let server = server(&dns, &certbot.toml());
    let way = Way::Implicit(server.submissions());
    assert_eq!(shown(way, MX).key, facts(&old).key);
    let line = logged(&server, "a certificate has expired").pop().unwrap();
    assert!(line.contains("\"ERROR\"") && line.contains("certbot renew"), "{line}");
    let (exit, status) = status(&server);
    assert_eq!((exit, found(&status, "submissions", MX)), (Some(69), "same".into()), "{status}");
    assert!(status["wrong"].to_string().contains("expired 202"), "{status}");
    let output = server.command(&["cert", "renew"]);
    assert_eq!(output.status.code(), Some(75), "{}", said(&output));
    assert_eq!(logged(&server, "has expired").len(), 1, "once a day");
}

#[test]
fn a_disk_that_hangs_holds_nobody_up() {
    let (dns, pki) = (Dns::start(ZONE), Pki::new());
    let first = pki.host(&[MX]);
    let certbot = Certbot::new(MX, &first);
    let file = certbot.live("fullchain.pem");
    // The first look at the file takes longer than anybody waits; the server itself stays our child.
    let hang =
        ["-e", "trace=statx", "-e", "inject=statx:delay_enter=25000000:when=1", "-P", file.to_str().unwrap()];
    let strace = [&["strace", "-D", "-f", "-qq", "-o", "/dev/null"][..], &hang].concat();
    let server = Plan::new(MX, &[ME]).with_submissions().with(&certbot.toml()).under(&strace).start(&dns);
    let way = Way::Implicit(server.submissions());
    assert!(shown(way, MX).self_signed);
    assert_eq!(logged(&server, "reading the certificates hangs").len(), 1);
    let output = server.command(&["cert", "renew"]);
    assert_eq!(output.status.code(), Some(75), "{}", said(&output));
    assert!(said(&output).contains("hangs; see to the disk"), "{}", said(&output));
    becomes_shown(way, &facts(&first));
    assert_eq!(logged(&server, "hangs").len(), 1);
}

#[test]
fn numbers_that_differ_are_a_wrong_configuration() {
    let dns = Dns::start(ZONE);
    let mut server = server(&dns, "");
    server.terminate();
    let output = server.command(&["-o", "tls.cert=/x/chain.pem", "serve"]);
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    assert!(said(&output).contains("tls.cert has 1 files and tls.key 0"), "{}", said(&output));
}

#[test]
fn a_key_that_only_root_may_read_is_given_by_the_command_that_the_log_names() {
    let (dns, pki) = (Dns::start(ZONE), Pki::new());
    let first = pki.host(&[MX]);
    let certbot = Certbot::new(MX, &first);
    let root = rustix::process::geteuid().is_root();
    let plan = Plan::new(MX, &[ME]).with_submissions().with(&certbot.toml());
    let plan = if root {
        let nobody =
            "chown -R 65534:65534 {root}; exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"";
        plan.under(&["sh", "-ec", nobody, "sh"])
    } else {
        fs::set_permissions(certbot.top().join("live"), std::os::unix::fs::PermissionsExt::from_mode(0o000))
            .unwrap();
        plan
    };
    let server = plan.start(&dns);
    let way = Way::Implicit(server.submissions());
    assert!(shown(way, MX).self_signed);
    let line = logged(&server, "a certificate cannot be used").pop().unwrap();
    assert!(line.contains("Permission denied"), "{line}");
    // A tool that root runs sees what the server sees.
    let (exit, before) = status(&server);
    assert_eq!((exit, found(&before, "submissions", MX)), (Some(69), "same".into()), "{before}");
    if root {
        let remedy = line.split('`').nth(1).unwrap();
        assert!(Command::new("sh").args(["-ec", remedy]).status().unwrap().success(), "{remedy}");
    } else {
        fs::set_permissions(certbot.top().join("live"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
    }
    becomes_shown(way, &facts(&first));
    let (_, after) = status(&server);
    assert_eq!(found(&after, "submissions", MX), "same", "{after}");
    assert_eq!(after["certificates"][0]["fault"], Value::Null, "{after}");
}

#[test]
fn each_name_is_shown_its_pair_and_the_status_asks_for_each() {
    let (dns, pki) = (Dns::start(ZONE), Pki::new());
    let (one, two) = (pki.host(&[MX]), pki.host(&["mx.other.example", "*.third.example"]));
    let (first, second) = (Certbot::new(MX, &one), Certbot::new("mx.other.example", &two));
    let both = |file: &str| [first.live(file), second.live(file)];
    let server =
        server(&dns, &format!("[tls]\ncert = {:?}\nkey = {:?}", both("fullchain.pem"), both("privkey.pem")));
    let way = Way::Implicit(server.submissions());
    assert_eq!(shown(way, "mx.other.example").key, facts(&two).key);
    assert_eq!(shown(way, "elsewhere.example").key, facts(&one).key);
    let (_, before) = status(&server);
    for name in [MX, "mx.other.example", "any.third.example"] {
        assert_eq!(found(&before, "submissions", name), "same", "{before}");
    }
    let record = format!("_25._tcp.{MX}. IN TLSA {}", one.own().tlsa(3, 1, 1));
    assert_eq!(before["certificates"][0]["tlsa"], serde_json::json!([record]));
    assert_eq!(
        before["certificates"][1]["names"],
        serde_json::json!(["mx.other.example", "*.third.example"])
    );
    // Only the second is replaced, by something worse.
    second.renew(2, &pki.expired(&["mx.other.example"]));
    let (exit, after) = status(&server);
    assert_eq!(exit, Some(69), "{after}");
    assert_eq!(found(&after, "submissions", MX), "same", "{after}");
    assert_eq!(found(&after, "submissions", "mx.other.example"), "other", "{after}");
}

#[test]
fn an_authority_that_is_not_there_is_told_of_while_our_own_is_shown() {
    let dns = Dns::start(ZONE);
    let names = [MX, "mail.here.example"];
    let acme = format!(
        "[tls.acme]\ndirectory = \"https://127.0.0.1:1/directory\"\nnames = {names:?}\nlisten = [\"127.0.0.1:0\"]"
    );
    let server = server(&dns, &acme);
    let output = server.command(&["cert", "renew"]);
    assert_eq!(output.status.code(), Some(75), "{}", said(&output));
    assert!(names.iter().all(|name| said(&output).contains(name)), "{}", said(&output));
    let (exit, status) = status(&server);
    assert_eq!((exit, found(&status, "submissions", MX)), (Some(69), "same".into()), "{status}");
    for (certificate, name) in status["certificates"].as_array().unwrap().iter().zip(names) {
        assert!(certificate["name"] == name && certificate["source"] == "acme", "{certificate}");
        assert!(certificate["fault"].as_str().unwrap().contains("no certificate"), "{certificate}");
        assert!(
            certificate["trouble"].as_str().unwrap().contains("failed") && certificate["next"].is_i64(),
            "{certificate}"
        );
    }
    let told = said(&server.command(&["cert", "status"]));
    assert!(told.contains("trouble") && told.contains("renewal"), "{told}");
}

#[test]
fn the_tools_say_what_they_found_in_words() {
    let dns = Dns::start(ZONE);
    let mut server = server(&dns, "");
    let output = server.command(&["cert", "renew"]);
    assert!(output.status.success() && said(&output).contains("[tls.acme]"), "{}", said(&output));
    let output = server.command(&["cert", "renew", "--json"]);
    let renewed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(renewed["ok"] == true && renewed["outcomes"][0]["what"] == MX, "{renewed}");
    let told = said(&server.command(&["cert", "status"]));
    let door = format!("submissions {} shows what is on disk", server.submissions());
    for part in [
        "nobody else vouches",
        "valid until 2099-12-3",
        "days left",
        "_25._tcp.mx.here.example. IN TLSA 3 1 1 ",
        &door,
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    let record = told.lines().find_map(|line| line.trim().strip_prefix("TLSA")).unwrap().trim().to_owned();
    server.terminate();
    let output = server.command(&["cert", "status"]);
    assert_eq!(output.status.code(), Some(75), "{}", said(&output));
    assert!(said(&output).contains("no server runs") && said(&output).contains(&record), "{}", said(&output));
    let output = server.command(&["cert", "renew"]);
    assert_eq!(output.status.code(), Some(69), "{}", said(&output));
    assert!(said(&output).contains("no server runs"), "{}", said(&output));
}
