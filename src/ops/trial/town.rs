//! The town: a name server, our server, a stranger's server, and the owner's home, all in one directory.

use super::children::{self, Listening, Server};
use super::scratch::Scratch;
use crate::error::{Exit, Failure};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The owner.
pub const ME: &str = "me@here.example";
/// A stranger, who has a key of his own.
pub const FRIEND: &str = "friend@there.example";
/// Another stranger.
pub const OTHER: &str = "other@there.example";

const HOSTS: &str = "\
here.example. 60 IN MX 10 mx.here.example.
mx.here.example. 60 IN A 127.0.0.1
there.example. 60 IN MX 10 mx.there.example.
mx.there.example. 60 IN A 127.0.0.1
";

/// The town while it stands.
pub struct Town {
    scratch: Scratch,
    program: PathBuf,
    servers: Vec<Server>,
}

/// Where everything is.
pub struct Places {
    /// This program.
    pub program: PathBuf,
    /// The directory of it all.
    pub root: PathBuf,
    /// The name server.
    pub dns: SocketAddr,
    /// Strangers' door of our server.
    pub mx: SocketAddr,
    /// The owner's door.
    pub submission: SocketAddr,
}

impl Places {
    /// A file or directory of the town.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Runs a pillarbox command with one of the town's configurations.
    pub async fn run(&self, config: &str, arguments: &[&str], input: &[u8]) -> Result<String, Failure> {
        command(&self.program, &self.at(config), arguments, input).await
    }
}

impl Town {
    /// An empty place for a town.
    pub fn new(scratch: Scratch) -> Result<Town, Failure> {
        let program = std::env::current_exe()
            .map_err(|error| Failure::new(Exit::OsErr, format!("this program's own path: {error}")))?;
        Ok(Town { scratch, program, servers: Vec::new() })
    }

    /// Builds it, with the commands that a user would type.
    pub async fn build(&mut self) -> Result<Places, Failure> {
        let root = self.scratch.path().to_owned();
        let zone = self.make_keys().await?;
        let dns = self.start_dns(&zone).await?;

        self.write("stranger.toml", &server_config(&root, "stranger", "mx.there.example", dns, None))?;
        let stranger = self.server("stranger", &[&["add", FRIEND], &["add", OTHER]]).await?;
        let port = first(&stranger.mx, "stranger")?.port();

        self.write("server.toml", &server_config(&root, "server", "mx.here.example", dns, Some(port)))?;
        let second = ["add", "me.ed25519@here.example", "--alias-of", ME];
        let ours = self.server("server", &[&["add", ME], &second]).await?;
        let (mx, submission) = (first(&ours.mx, "server")?, first(&ours.submission, "server")?);
        Ok(Places { program: self.program.clone(), root, dns, mx, submission })
    }

    /// Ends what was started, in reverse order; the directory goes with the town.
    pub async fn close(mut self) {
        while let Some(mut server) = self.servers.pop() {
            server.stop().await;
        }
    }

    /// Home's keys and the stranger's; returns the zone with what `key new` printed.
    async fn make_keys(&self) -> Result<String, Failure> {
        let root = self.scratch.path();
        self.write("home.toml", &home_config(root, &self.program))?;
        self.write("friend.toml", &format!("mail = {}\n", quoted(&root.join("friend"))))?;
        let (home, friend) = (root.join("home.toml"), root.join("friend.toml"));
        let (mine, his) = tokio::try_join!(
            command(&self.program, &home, &["key", "new", ME], b""),
            command(&self.program, &friend, &["key", "new", FRIEND, "--no-ed25519"], b""),
        )?;
        Ok(format!("{HOSTS}{mine}{his}"))
    }

    async fn start_dns(&mut self, zone: &str) -> Result<SocketAddr, Failure> {
        let root = self.scratch.path().to_owned();
        self.write("zone", zone)?;
        let zone = root.join("zone");
        let arguments = ["try-dns".as_ref(), "--zone".as_ref(), zone.as_os_str()];
        let server = Server::start("the name server", &self.program, &arguments, root.join("dns.log"))?;
        let line = self.add(server).first_line().await?;
        line.parse().map_err(|_| Failure::new(Exit::Software, format!("the name server said {line:?}")))
    }

    /// Makes a server's addresses (`address …`), starts it and waits until it is ready.
    async fn server(&mut self, name: &'static str, addresses: &[&[&str]]) -> Result<Listening, Failure> {
        let root = self.scratch.path().to_owned();
        let config = root.join(format!("{name}.toml"));
        let mail = root.join(name).join("mail");
        std::fs::create_dir_all(&mail)
            .map_err(|error| Failure::new(Exit::CantCreat, format!("{}: {error}", mail.display())))?;
        for address in addresses {
            let arguments = [&["address"], *address].concat();
            command(&self.program, &config, &arguments, b"").await?;
        }
        let arguments = ["--config".as_ref(), config.as_os_str(), "serve".as_ref()];
        let log = root.join(format!("{name}.log"));
        let server = Server::start(name, &self.program, &arguments, log)?;
        self.add(server).listening(&root.join(name).join("state")).await
    }

    /// From here on the server is ended with the town.
    fn add(&mut self, server: Server) -> &mut Server {
        let place = self.servers.len();
        self.servers.push(server);
        &mut self.servers[place]
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.scratch.path().join(name);
        std::fs::write(&path, text)
            .map_err(|error| Failure::new(Exit::CantCreat, format!("{}: {error}", path.display())))
    }
}

async fn command(program: &Path, config: &Path, arguments: &[&str], input: &[u8]) -> Result<String, Failure> {
    let mut line = vec!["--config".as_ref(), config.as_os_str()];
    line.extend(arguments.iter().map(std::ffi::OsStr::new));
    children::run(program, &line, input).await
}

/// A server's configuration. `relay` is the port of the only other server in town; without it only strangers' door is
/// open.
fn server_config(root: &Path, name: &str, hostname: &str, dns: SocketAddr, relay: Option<u16>) -> String {
    let place = root.join(name);
    let mut text = format!(
        "hostname = \"{hostname}\"\nmail_root = {}\nstate_dir = {}\n\n[dns]\nservers = [\"{dns}\"]\n\n",
        quoted(&place.join("mail")),
        quoted(&place.join("state")),
    );
    text.push_str("[limits]\nfree_space = 0\n\n[listen]\nmx = [\"127.0.0.1:0\"]\n");
    match relay {
        None => text.push_str("submission = []\n"),
        Some(port) => text.push_str(&format!(
            "submission = [\"127.0.0.1:0\"]\n\n[relay]\nport = {port}\nallow_private = true\n"
        )),
    }
    text
}

/// Home's configuration: no ssh, the gate is the other side by itself.
fn home_config(root: &Path, program: &Path) -> String {
    let gate = |verb: &str| {
        let words =
            [program, Path::new("--config"), &root.join("server.toml"), Path::new("gate"), Path::new(verb)];
        let words: Vec<String> = words.into_iter().chain([Path::new("here.example")]).map(quoted).collect();
        format!("[{}]", words.join(", "))
    };
    format!(
        "server = \"here\"\nmail = {}\noutbox = {}\nfrom = \"{ME}\"\nsubmit_via = {}\npull_via = {}\n",
        quoted(&root.join("home/mail")),
        quoted(&root.join("home/outbox")),
        gate("submit"),
        gate("export"),
    )
}

fn quoted(path: &Path) -> String {
    toml::Value::String(path.to_string_lossy().into_owned()).to_string()
}

fn first(addresses: &[SocketAddr], name: &str) -> Result<SocketAddr, Failure> {
    addresses.first().copied().ok_or_else(|| Failure::new(Exit::Software, format!("{name} listens nowhere")))
}
