//! Letters as an attacker makes them: keys by openssl, signatures by `tests/tools/`, nothing of our own signer in it.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools");

/// The field names that rule 1 wants in `h=`, each oversigned.
pub const COVERED: &str = "From:From:Sender:Sender:Reply-To:Reply-To:To:To:Cc:Cc:Subject:Subject:Date:Date:Message-ID:\
                           Message-ID:MIME-Version:MIME-Version:Content-Type:Content-Type:\
                           Content-Transfer-Encoding:Content-Transfer-Encoding";

/// A key pair of openssl's; made once and kept between runs, below cargo's `target/tmp`.
#[derive(Clone)]
pub struct Key {
    pub pem: PathBuf,
    /// `k=…; p=…`
    record: String,
    algorithm: &'static str,
}

impl Key {
    /// `rsa2048`, `rsa1024`, `ed25519` (PKCS #8) or `pkcs1` (RSA with 2048 bits), one of this name.
    pub fn new(name: &str, kind: &str) -> Key {
        static MAKING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let pem = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("forge-{name}-{kind}.pem"));
        if !pem.exists() {
            let fresh = pem.with_extension(format!("{}", std::process::id()));
            let mut command = Command::new("openssl");
            match kind.strip_prefix("rsa") {
                Some(bits) => {
                    let bits = format!("rsa_keygen_bits:{bits}");
                    command.args(["genpkey", "-algorithm", "RSA", "-pkeyopt", &bits, "-out"]).arg(&fresh)
                }
                None if kind == "pkcs1" => {
                    command.args(["genrsa", "-traditional", "-out"]).arg(&fresh).arg("2048")
                }
                None => command.args(["genpkey", "-algorithm", kind, "-out"]).arg(&fresh),
            };
            let made = command.stderr(Stdio::null()).status().expect("openssl (tests/install)");
            assert!(made.success());
            std::fs::rename(&fresh, &pem).unwrap();
        }
        let mut show = Command::new("openssl");
        let shown = show.args(["pkey", "-pubout", "-outform", "DER", "-in"]).arg(&pem).output().unwrap();
        assert!(shown.status.success(), "{}", pem.display());
        let mut der = shown.stdout;
        if kind == "ed25519" {
            der.drain(..der.len() - 32);
        }
        let k = if kind == "ed25519" { "ed25519" } else { "rsa" };
        let p = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
        let algorithm = if kind == "ed25519" { "ed25519-sha256" } else { "rsa-sha256" };
        Key { pem, record: format!("k={k}; p={p}"), algorithm }
    }

    /// A line of a zone: this key under `selector._domainkey.domain`, with more tags such as `t=y; `.
    pub fn zone(&self, selector: &str, domain: &str, more: &str) -> String {
        let text = self.text(more);
        let strings: Vec<String> = text
            .as_bytes()
            .chunks(200)
            .map(|part| format!("\"{}\"", String::from_utf8_lossy(part)))
            .collect();
        format!("{selector}._domainkey.{domain}. 60 IN TXT {}\n", strings.join(" "))
    }

    /// The text of its record in DNS.
    pub fn text(&self, more: &str) -> String {
        format!("v=DKIM1; {more}{}", self.record)
    }

    /// The tags of an ordinary signature by this key, without `bh=` and `b=`.
    pub fn tags(&self, selector: &str, domain: &str) -> String {
        format!("v=1; a={}; c=relaxed/relaxed; d={domain}; s={selector}; h={COVERED}", self.algorithm)
    }

    /// `letter` under a signature with these tags.
    pub fn sign(&self, tags: &str, letter: &[u8]) -> Vec<u8> {
        FORGER.with_borrow_mut(|forger| forger.sign(&self.pem, tags, letter))
    }

    /// `letter` under a signature by dkimpy.
    pub fn dkimpy(&self, selector: &str, domain: &str, letter: &[u8]) -> Vec<u8> {
        let mut arguments = vec![self.pem.to_str().unwrap(), selector, domain];
        if self.algorithm == "ed25519-sha256" {
            arguments.push("ed25519");
        }
        run("dkimpy.py", &arguments, letter)
    }
}

/// `letter` under one more field, or several, with their line ends.
pub fn on_top(field: &str, letter: &[u8]) -> Vec<u8> {
    [field.as_bytes(), letter].concat()
}

/// `letter` with a text replaced, once; it must be there.
pub fn with(letter: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(letter.to_vec()).unwrap();
    assert!(text.contains(from), "{from:?} is not in\n{text}");
    text.replacen(from, to, 1).into_bytes()
}

/// Whether dkimpy finds the first signature of a letter good, by the text of its key's record.
pub fn dkimpy_verifies(letter: &[u8], record: &str) -> bool {
    match run("dkimpy_verify.py", &[record], letter).as_slice() {
        b"good\n" => true,
        b"bad\n" => false,
        other => panic!("dkimpy_verify.py: {}", String::from_utf8_lossy(other)),
    }
}

thread_local! {
    /// A python takes a while to start: one for each test.
    static FORGER: RefCell<Forger> = RefCell::new(Forger::start());
}

/// `forge.py`, which ends with its input.
struct Forger {
    child: Child,
    jobs: Option<ChildStdin>,
    signed: BufReader<ChildStdout>,
}

impl Forger {
    fn start() -> Forger {
        let mut child = python("forge.py").spawn().expect("python3 (tests/install)");
        let (jobs, signed) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Forger { child, jobs, signed }
    }

    fn sign(&mut self, pem: &Path, tags: &str, letter: &[u8]) -> Vec<u8> {
        let jobs = self.jobs.as_mut().unwrap();
        writeln!(jobs, "{}\t{tags}\t{}", pem.display(), letter.len()).unwrap();
        jobs.write_all(letter).unwrap();
        let mut length = String::new();
        self.signed.read_line(&mut length).unwrap();
        let mut signed = vec![0; length.trim().parse().expect("forge.py failed; its words are above")];
        self.signed.read_exact(&mut signed).unwrap();
        signed
    }
}

impl Drop for Forger {
    fn drop(&mut self) {
        drop(self.jobs.take());
        let _ = self.child.wait();
    }
}

/// Debian's own python: python3-dkim is installed for that one.
fn python(tool: &str) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.arg(Path::new(TOOLS).join(tool)).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

fn run(tool: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = python(tool).args(arguments).spawn().expect("python3 (tests/install)");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{tool} {arguments:?}");
    output.stdout
}
