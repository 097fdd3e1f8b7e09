//! Real programs send through our `sendmail`, each with the settings that `docs/sendmail.md` gives: what a stranger gets is
//! signed, from the right sender, and says nothing of blind copies or of the machine at home.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

mod harness;

use harness::home::Home;
use harness::{Dns, PILLARBOX, Plan, Server, ZONE, eventually, letters_in};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

const ME: &str = "me@here.example";
const BODY: &str = "Grüße,\n.\nFrom me\n";

/// Our server and a stranger's, and a home whose `sendmail` is our program. All tests that run at one time share it.
struct Town {
    home: Home,
    ours: Server,
    stranger: Server,
    _dns: Dns,
}

fn town() -> Arc<Town> {
    static TOWN: OnceLock<Mutex<Weak<Town>>> = OnceLock::new();
    let mut town = TOWN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(town) = town.upgrade() {
        return town;
    }
    let new = Arc::new(Town::new());
    *town = Arc::downgrade(&new);
    new
}

impl Town {
    fn new() -> Town {
        let dns = Dns::start(ZONE);
        let all = ["you@there.example", "cc@there.example", "hidden@there.example", "list@there.example"];
        let stranger = Plan::new("mx.there.example", &all).start(&dns);
        let relay = format!("[relay]\nport = {}\nallow_private = true\n", stranger.mx().port());
        let ours = Plan::new("mx.here.example", &[ME]).with(&relay).start(&dns);
        let home = Home::new(&dns, ME);
        home.use_server(&ours);
        std::os::unix::fs::symlink(PILLARBOX, home.root.path().join("sendmail")).unwrap();
        Town { home, ours, stranger, _dns: dns }
    }

    /// Our program by its other name.
    fn sendmail(&self) -> String {
        self.home.root.path().join("sendmail").display().to_string()
    }

    /// A file in a directory of the test's own, which is also its HOME.
    fn file(&self, test: &str, name: &str, text: &str) -> PathBuf {
        let directory = self.home.root.path().join(test);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(name), text).unwrap();
        directory.join(name)
    }

    /// Runs a program as a user who has nothing but `test` as home; it must succeed and have nothing to say on stderr.
    fn run(&self, test: &str, program: &str, arguments: &[&str], input: &str) {
        let file = self.file(test, "input", input);
        let directory = file.parent().unwrap();
        let user = user();
        let output = Command::new(program)
            .args(arguments)
            .current_dir(directory)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", directory)
            .envs([
                ("USER", user.as_str()),
                ("LOGNAME", user.as_str()),
                ("LANG", "C.UTF-8"),
                ("TERM", "dumb"),
            ])
            .env("PILLARBOX_CONFIG", self.home.config())
            .envs([("MAILRC", directory.join("mailrc")), ("MHMTSCONF", directory.join("mts.conf"))])
            .stdin(std::fs::File::open(&file).unwrap())
            .output()
            .unwrap_or_else(|error| panic!("{program} (tests/packages.txt): {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {} {said}", output.status);
        assert!(!said.contains("sendmail") && !said.contains("pillarbox"), "{program}: {said}");
    }

    /// The stranger's letters of this subject: each of `to` has one, nobody else any, and all are as they must be.
    fn arrived(&self, subject: &str, to: &[&str]) -> Vec<Letter> {
        let waits = |who: &str| self.of_subject(who, subject);
        let letters: Vec<Letter> =
            to.iter().map(|who| eventually(&format!("{subject} for {who}"), || waits(who))).collect();
        for (letter, who) in letters.iter().zip(to) {
            letter.is_as_it_must_be(who);
        }
        for who in ["you", "cc", "hidden", "list"] {
            assert!(to.contains(&who) || waits(who).is_none(), "{who} got {subject} too");
        }
        letters
    }

    fn of_subject(&self, who: &str, subject: &str) -> Option<Letter> {
        let directory = self.stranger.maildir(&format!("there.example/{who}")).join("new");
        let mut found =
            letters_in(&directory).into_iter().map(Letter).filter(|l| l.field("Subject") == subject);
        let letter = found.next();
        assert!(found.next().is_none(), "{subject} came twice for {who}");
        letter
    }
}

/// A letter as it lies in a Maildir.
struct Letter(String);

impl Letter {
    /// The header, unfolded, a field on a line.
    fn header(&self) -> String {
        let text = self.0.replace("\r\n", "\n");
        let header = text.split_once("\n\n").map_or(text.as_str(), |(header, _)| header);
        header.replace("\n ", " ").replace("\n\t", " ")
    }

    /// The values of all fields of this name.
    fn fields(&self, name: &str) -> Vec<String> {
        let header = self.header();
        let fields = header.lines().filter_map(|line| line.split_once(':'));
        fields
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    }

    /// The value of the only field of this name.
    fn field(&self, name: &str) -> String {
        let values = self.fields(name);
        assert!(values.len() < 2, "{name}: {}", self.0);
        values.into_iter().next().unwrap_or_default()
    }

    fn body(&self) -> String {
        self.0.replace("\r\n", "\n").split_once("\n\n").unwrap().1.to_owned()
    }

    fn is_as_it_must_be(&self, who: &str) {
        let text = &self.0;
        assert_eq!(self.field("Return-Path"), format!("<{ME}>"), "{text}");
        assert_eq!(self.field("Delivered-To"), format!("{who}@there.example"), "{text}");
        assert!(self.field("From").contains(ME), "{text}");
        let results = self.fields("Authentication-Results").join(" ");
        assert!(results.contains("dkim=pass header.d=here.example"), "{text}");
        assert!(!results.contains("dkim=fail"), "{text}");
        for name in ["Bcc", "Envelope-Seal", "Resent-Bcc"] {
            assert!(self.fields(name).is_empty(), "{text}");
        }
        assert!(who == "hidden" || !self.header().contains("hidden"), "{text}");
        for name in ["Date", "Message-ID"] {
            assert!(!self.field(name).is_empty(), "{name}: {text}");
        }
        // What stands above our server's own Received, the stranger's server found out about ours; and what a letter that is sent
        // again brought with it is of its first way.
        let header = self.header();
        let ours = header.find("\nReceived: by mx.here.example").expect("our server's trace");
        let first_way =
            ["Received: from", "Pillarbox-Verdict:"].map(|field| header[ours..].find(&format!("\n{field}")));
        let end = first_way.into_iter().flatten().min().map_or(header.len(), |end| ours + end);
        self.says_nothing_of_home(&header[ours..end]);
    }

    /// Neither this machine's name nor its user's is a word of these lines.
    fn says_nothing_of_home(&self, lines: &str) {
        let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
        let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        // Signatures are random text.
        let lines: Vec<_> = lines.lines().filter(|line| !line.starts_with("DKIM-Signature:")).collect();
        for name in [host.as_str(), host.split('.').next().unwrap(), &user(), "localhost"] {
            let word = |line: &&&str| line.split(|c| !is_of_name(c)).any(|word| word == name);
            assert!(lines.iter().find(word).is_none(), "{name}: {}", self.0);
        }
    }
}

fn user() -> String {
    nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name
}

/// The settings for mutt and neomutt in docs/sendmail.md.
fn muttrc(town: &Town, test: &str) -> String {
    let text = format!(
        "set sendmail=\"{} -oem -oi\"\nset use_envelope_from=yes\nset from={ME}\nset realname=\"Me Myself\"\n\
         set hostname=here.example\nset copy=no\n",
        town.sendmail()
    );
    town.file(test, "muttrc", &text).display().to_string()
}

fn mutts(program: &str) {
    let town = town();
    let rc = muttrc(&town, program);
    let plain = format!("{program}, plain");
    let arguments = ["-F", &rc, "-s", &plain, "-c", "cc@there.example", "-b", "hidden@there.example"];
    let to = ["--", "you@there.example"];
    town.run(program, program, &[&arguments[..], &to[..]].concat(), BODY);
    let letters = town.arrived(&plain, &["you", "cc", "hidden"]);
    assert_eq!(letters[0].field("From"), format!("Me Myself <{ME}>"));
    assert_eq!(letters[0].field("To"), "you@there.example");
    assert_eq!(letters[0].field("Cc"), "cc@there.example");

    let attached = format!("{program}, attached");
    let file = town.file(program, "data.bin", "\0\u{1}binary\r\n\n").display().to_string();
    town.run(program, program, &["-F", &rc, "-s", &attached, "-a", &file, "--", "you@there.example"], BODY);
    let letters = town.arrived(&attached, &["you"]);
    assert!(
        letters[0].0.contains("Content-Disposition: attachment; filename=\"data.bin\""),
        "{}",
        letters[0].0
    );
}

#[test]
fn mutt() {
    mutts("mutt");
}

#[test]
fn neomutt() {
    mutts("neomutt");
}

#[test]
fn git_send_email() {
    let town = town();
    let test = "git";
    let settings = format!(
        "[user]\n name = Me Myself\n email = {ME}\n[init]\n defaultBranch = main\n[sendemail]\n \
         sendmailCmd = {}\n confirm = never\n suppressCc = self\n",
        town.sendmail()
    );
    town.file(test, ".gitconfig", &settings);
    let git = |arguments: &[&str]| town.run(test, "git", arguments, "");
    git(&["init", "-q", "repository"]);
    for text in ["first\n", "second, with ü\n"] {
        town.file("git/repository", "file", text);
        git(&["-C", "repository", "add", "file"]);
        git(&["-C", "repository", "commit", "-q", "-m", &format!("git: {}", text.trim())]);
    }
    git(&[
        "-C",
        "repository",
        "send-email",
        "-q",
        "--root",
        "-2",
        "--to",
        "list@there.example",
        "--cc",
        "cc@there.example",
        "--bcc",
        "hidden@there.example",
    ]);
    let first = town.arrived("[PATCH 1/2] git: first", &["list", "cc", "hidden"]);
    let second = eventually("the second patch", || {
        let letters = town.stranger.letters("there.example/list").into_iter().map(Letter);
        letters.into_iter().find(|letter| letter.field("In-Reply-To") == first[0].field("Message-ID"))
    });
    second.is_as_it_must_be("list");
    assert!(second.0.contains("X-Mailer: git-send-email"), "{}", second.0);
}

#[test]
fn s_nail() {
    let town = town();
    let rc =
        format!("set mta={}\nset from=\"Me Myself <{ME}>\"\nset hostname=here.example\n", town.sendmail());
    town.file("s-nail", "mailrc", &rc);
    let arguments =
        ["-s", "s-nail", "-c", "cc@there.example", "-b", "hidden@there.example", "you@there.example"];
    town.run("s-nail", "s-nail", &[&["-Sv15-compat"], &arguments[..]].concat(), BODY);
    town.arrived("s-nail", &["you", "cc", "hidden"]);
}

#[test]
fn bsd_mailx() {
    let town = town();
    town.file("bsd-mailx", "mailrc", &format!("set sendmail={}\n", town.sendmail()));
    let arguments =
        ["-s", "bsd-mailx", "-c", "cc@there.example", "-b", "hidden@there.example", "you@there.example"];
    town.run("bsd-mailx", "bsd-mailx", &arguments, "Hello.\n");
    let letters = town.arrived("bsd-mailx", &["you", "cc", "hidden"]);
    assert_eq!(letters[0].field("To"), "you@there.example");
}

#[test]
fn mailutils() {
    let town = town();
    let mailer = format!("set sendmail=sendmail://{}", town.sendmail());
    let arguments = ["-E", &mailer, "-r", ME, "-s", "mailutils", "you@there.example"];
    town.run("mailutils", "mail.mailutils", &arguments, BODY);
    town.arrived("mailutils", &["you"]);
}

#[test]
fn a_perl_script() {
    let town = town();
    let script = "open(my $mail, '|-', $ARGV[0], '-t', '-oi', '-oem') or die; print $mail <STDIN>; close($mail) or die";
    let letter = format!(
        "From: Me Myself <{ME}>\nTo: You <you@there.example>,\n  cc@there.example\nBcc: hidden@there.example\n\
         Subject: perl\nContent-Type: text/plain; charset=utf-8\n\n{BODY}"
    );
    town.run("perl", "perl", &["-e", script, &town.sendmail()], &letter);
    let letters = town.arrived("perl", &["you", "cc", "hidden"]);
    assert_eq!(letters[0].field("MIME-Version"), "1.0");
}

#[test]
fn a_python_script() {
    let town = town();
    let script = "\
import subprocess, sys
from email.message import EmailMessage
letter = EmailMessage()
letter['From'] = sys.argv[2]
letter['To'] = 'you@there.example'
letter['Bcc'] = 'hidden@there.example'
letter['Subject'] = 'python'
letter.set_content(sys.stdin.read())
letter.add_attachment(b'\\0' * 100, maintype='application', subtype='octet-stream', filename='zeros')
subprocess.run([sys.argv[1], '-t', '-oi'], input=letter.as_bytes(), check=True)
";
    town.run("python", "python3", &["-c", script, &town.sendmail(), ME], BODY);
    town.arrived("python", &["you", "hidden"]);
}

#[test]
fn php_mail() {
    let town = town();
    let script = "exit(mail('you@there.example', 'php', \"Hello.\\r\\n.\\r\\n\", ['From' => 'me@here.example', \
                  'Cc' => 'cc@there.example', 'Bcc' => 'hidden@there.example'], '-fme@here.example') ? 0 : 1);";
    let path = format!("sendmail_path={} -t -i", town.sendmail());
    town.run("php", "php", &["-n", "-d", &path, "-r", script], "");
    let letters = town.arrived("php", &["you", "cc", "hidden"]);
    assert!(letters[0].body().contains("Hello.\n.\n"), "{}", letters[0].0);
}

/// Debian's cron: what it pipes into which command line.
#[test]
fn cron() {
    let town = town();
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let letter = format!(
        "From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@{host}> backup\nMIME-Version: 1.0\n\
         Content-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\nX-Cron-Env: <HOME=/root>\n\n{BODY}"
    );
    let arguments = ["-i", "-FCronDaemon", "-B8BITMIME", "-oem", "root"];
    town.run("cron", &town.sendmail(), &arguments, &letter);
    let letter = eventually("cron's letter", || {
        let letters = town.ours.letters("here.example/me").into_iter().map(Letter);
        letters.into_iter().find(|letter| letter.field("Subject").starts_with("Cron <"))
    });
    assert_eq!(letter.field("Return-Path"), format!("<{ME}>"), "{}", letter.0);
    assert_eq!(letter.field("From"), format!("{ME} (Cron Daemon)"), "{}", letter.0);
    let header = letter.header();
    let written_by_cron = |line: &&str| line.starts_with("Subject:") || line.starts_with("X-Cron-Env:");
    let rest: Vec<&str> =
        header.lines().filter(|line| !written_by_cron(line) && *line != "To: root@here.example").collect();
    letter.says_nothing_of_home(&rest.join("\n"));
}

/// nmh speaks SMTP with `sendmail -bs`.
#[test]
fn nmh() {
    let town = town();
    let mts = format!("mts: sendmail/smtp\nsendmail: {}\nlocalname: here.example\n", town.sendmail());
    town.file("nmh", "mts.conf", &mts);
    town.file("nmh", ".mh_profile", "Path: Mail\n");
    std::fs::create_dir_all(town.home.root.path().join("nmh/Mail")).unwrap();
    let draft = format!(
        "From: Me Myself <{ME}>\nTo: you@there.example\nCc: cc@there.example\nSubject: nmh\n\
         Content-Type: text/plain; charset=utf-8\nMime-Version: 1.0\n\n{BODY}"
    );
    let draft = town.file("nmh", "draft", &draft).display().to_string();
    town.run("nmh", "/usr/bin/mh/send", &[&draft], "");
    town.arrived("nmh", &["you", "cc"]);
}

#[test]
fn emacs_message_mode() {
    let town = town();
    let script = format!(
        "(require 'message)
(setq sendmail-program {:?} send-mail-function #'sendmail-send-it
      message-send-mail-function #'message-send-mail-with-sendmail
      message-sendmail-envelope-from 'header mail-specify-envelope-from t
      user-mail-address {ME:?} user-full-name \"Me Myself\" message-user-fqdn \"here.example\"
      message-auto-save-directory nil auto-save-default nil)
(message-mail \"you@there.example\" \"emacs, message\" '((Cc . \"cc@there.example\") (Bcc . \"hidden@there.example\")))
(message-goto-body)
(insert \"Grüße,\\n.\\n\")
(message-send)
(mail-mode)
(with-temp-buffer
  (insert \"To: you@there.example\\nFrom: Me Myself <{ME}>\\nSubject: emacs, mail\\n\"
          mail-header-separator \"\\nHello.\\n\")
  (sendmail-send-it))
",
        town.sendmail()
    );
    let script = town.file("emacs", "send.el", &script).display().to_string();
    town.run("emacs", "emacs", &["-Q", "--batch", "-l", &script], "");
    town.arrived("emacs, message", &["you", "cc", "hidden"]);
    town.arrived("emacs, mail", &["you"]);
}

/// A letter that somebody kept and sends again, with the signatures and trace fields of its first journey.
#[test]
fn a_letter_that_is_sent_again() {
    let town = town();
    let letter = format!("From: {ME}\nTo: you@there.example\nSubject: again\n\n{BODY}");
    town.run("again", &town.sendmail(), &["-oi", "-t"], &letter);
    let first = town.arrived("again", &["you"]);
    for to in ["cc@there.example", "list@there.example"] {
        town.run("again", &town.sendmail(), &["-oi", to], &first[0].0);
    }
    let letters = town.arrived("again", &["you", "cc", "list"]);
    assert_eq!(letters[1].fields("DKIM-Signature").len(), 1, "{}", letters[1].0);
}

/// A program that is told to say who the letter is from by neither flag nor header.
#[test]
fn a_bare_pipe() {
    let town = town();
    let mut child = Command::new(town.sendmail())
        .arg("you@there.example")
        .env("PILLARBOX_CONFIG", town.home.config())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"Subject: bare\n\nHello.\n").unwrap();
    assert!(child.wait().unwrap().success());
    town.arrived("bare", &["you"]);
}
