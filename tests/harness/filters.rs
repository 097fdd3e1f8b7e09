//! A server with a filter that is a few lines of shell, and a directory where that may leave what it saw.

use super::wire::Wire;
use super::{Dns, PILLARBOX, Plan, Server, ZONE, eventually};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A letter up to its first line of text.
pub const LETTER: &str = "From: friend@there.example\r\nTo: me@here.example\r\nSubject: hello\r\n\
Date: Mon, 02 Mar 2026 09:00:00 +0000\r\nMessage-ID: <1@there.example>\r\n\r\n";

/// Who is neither root nor nobody.
const SOMEBODY: &str = "65532";

/// A server with a filter.
pub struct Filtered {
    pub server: Server,
    out: TempDir,
    _dns: Dns,
}

impl Filtered {
    /// By this script, for which `$OUT` is a directory to write in.
    pub fn by(script: &str) -> Filtered {
        Filtered::by_with(script, "")
    }

    /// The same with more lines of `[inbound]`.
    pub fn by_with(script: &str, more: &str) -> Filtered {
        Filtered::start(script, None, more, &[])
    }

    /// By this command instead of a script.
    pub fn with(command: &[&str], more: &str) -> Filtered {
        Filtered::start("", Some(command), more, &[])
    }

    /// The server under a command that ends by executing it.
    pub fn under(script: &str, wrapper: &[&str]) -> Filtered {
        Filtered::start(script, None, "", wrapper)
    }

    /// The server started as a user who is not root.
    pub fn unprivileged(script: &str) -> Filtered {
        if !rustix::process::geteuid().is_root() {
            return Filtered::by(script);
        }
        let become_somebody = format!(
            "chown -R {SOMEBODY}:{SOMEBODY} {{root}}
             exec 7<{{root}}/server.toml
             exec setpriv --reuid {SOMEBODY} --regid {SOMEBODY} --clear-groups \"$@\""
        );
        Filtered::start(script, None, "", &["sh", "-ec", &become_somebody, "sh"])
    }

    fn start(script: &str, command: Option<&[&str]>, more: &str, wrapper: &[&str]) -> Filtered {
        let out = tempfile::Builder::new().prefix("pillarbox-filter-").tempdir().unwrap();
        fs::set_permissions(out.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let file = out.path().join("filter");
        let by_script = ["/bin/sh", file.to_str().unwrap()];
        write(&file, out.path(), script);
        let dns = Dns::start(ZONE);
        let plan =
            Plan::new("mx.here.example", &["me@here.example", "me/junk@here.example", "you@here.example"]);
        let inbound = format!("[inbound]\nfilter = {:?}\n{more}", command.unwrap_or(&by_script));
        let server = plan.with("[limits]\nfree_space = 0\nconnections_per_ip = 50").with(&inbound);
        let server = server.under(wrapper).start(&dns);
        Filtered { server, out, _dns: dns }
    }

    /// Another script from now on.
    pub fn rewrite(&self, script: &str) {
        write(&self.out.path().join("filter"), self.out.path(), script);
    }

    /// Where the filter leaves what it saw.
    pub fn out(&self) -> &Path {
        self.out.path()
    }

    pub fn wire(&self) -> Wire {
        Wire::greeted(self.server.mx()).0
    }

    /// What it left in this file.
    pub fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.out.path().join(file)).unwrap()
    }

    pub fn told(&self, file: &str) -> String {
        String::from_utf8_lossy(&self.read(file)).into_owned()
    }

    /// What it left in all files whose names begin so.
    pub fn files(&self, prefix: &str) -> Vec<String> {
        let entries = fs::read_dir(self.out.path()).unwrap().map(|entry| entry.unwrap());
        let found = entries.filter(|entry| entry.file_name().to_str().unwrap().starts_with(prefix));
        found.map(|entry| fs::read_to_string(entry.path()).unwrap()).collect()
    }

    /// The process that runs the filter: the server's child, or that one's, where it has numbers of its own.
    pub fn helper(&self) -> u32 {
        let child =
            |parent| processes().find(|one| one.parent == parent && one.words.contains("filter-helper"));
        let outer = child(self.server.pid()).unwrap().pid;
        child(outer).map_or(outer, |inner| inner.pid)
    }

    /// What the helper is parent of, also what has ended and was not looked after.
    pub fn children_of_helper(&self) -> Vec<u32> {
        let helper = self.helper();
        processes().filter(|one| one.parent == helper).map(|one| one.pid).collect()
    }

    /// Whether any of its programs runs, or what they left behind.
    pub fn is_running(&self) -> bool {
        let own = format!("OUT={}\0", self.out.path().display());
        let has_it = |environment: Vec<u8>| String::from_utf8_lossy(&environment).contains(&own);
        let path = |pid: u32| format!("/proc/{pid}/environ");
        // The shell itself has it in its arguments.
        let script = self.out.path().join("filter").display().to_string();
        // The helper may have been told of it by its arguments, too.
        let mut programs = processes().filter(|one| !one.words.contains("filter-helper"));
        programs.any(|one| one.words.contains(&script) || fs::read(path(one.pid)).is_ok_and(has_it))
    }

    /// Waits until the log has these words.
    #[track_caller]
    pub fn logged(&self, words: &str) {
        eventually(words, || self.server.log().contains(words).then_some(()));
    }

    /// All of the server's files to whoever owns its mail.
    pub fn own(&self) {
        let root = self.server.root.path();
        let status = Command::new("chown").arg("-R").arg("--reference").arg(root).arg(root).status().unwrap();
        assert!(status.success());
    }

    /// All of the server's files to anybody, as far as modes go, but for its sockets, which nothing else keeps shut.
    pub fn open_to_all(&self) {
        let script = "chmod -R a+rwX \"$0\"; find \"$0\" -type s -exec chmod 600 {} +";
        let status = Command::new("sh").args(["-ec", script]).arg(self.server.root.path()).status().unwrap();
        assert!(status.success());
    }

    /// What a server says that does not start because of its filter. `{root}` in the words is where its files are.
    pub fn refused(program: &str, more: &str, wrapper: &[&str]) -> String {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name).display().to_string();
        let words = |word: &str| word.replace("{root}", root.path().to_str().unwrap());
        let config = format!(
            "hostname = \"mx.here.example\"\nmail_root = {:?}\nstate_dir = {:?}\n[listen]\nmx = [\"127.0.0.1:0\"]\n\
             submission = [\"127.0.0.1:0\"]\n[inbound]\nfilter = [{:?}]\n{more}\n",
            path("mail"),
            path("state"),
            words(program)
        );
        let file: PathBuf = root.path().join("server.toml");
        fs::write(&file, config).unwrap();
        let mut command = Command::new("timeout");
        command
            .arg("30")
            .args(wrapper.iter().map(|word| words(word)))
            .arg(PILLARBOX)
            .arg("--config")
            .arg(file)
            .arg("serve");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{said}");
        said
    }
}

fn write(file: &Path, out: &Path, script: &str) {
    fs::write(file, format!("OUT={}; export OUT\n{script}\n", out.display())).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

struct Process {
    pid: u32,
    parent: u32,
    /// Its command line, with a NUL between the words; empty once it has ended.
    words: String,
}

fn processes() -> impl Iterator<Item = Process> {
    let numbers =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.filter_map(|pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?;
        let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        Some(Process { pid, parent, words: String::from_utf8_lossy(&words).into_owned() })
    })
}

/// Whether a process runs; one that has ended and that nobody has looked after does not.
pub fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
