//! `key`: the private halves as PEM files at home, the public halves as TXT records to publish.

use super::records::Txt;
use super::{print, print_json};
use crate::config::Home;
use crate::error::{Exit, Failure};
use crate::mail::address::{Address, Domain};
use crate::trust::keys::{Algorithm, KeyError, PrivateKey, generate_pem};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// `key new`: an RSA key, and an Ed25519 key beside it unless `ed25519` is false. Prints the records to publish.
pub fn new(config: &Home, address: &str, selector: Option<&str>, ed25519: bool) -> Result<(), Failure> {
    let address = parse(address)?;
    let domain = domain_of(&address)?;
    let local = address.folded_local();
    let selector = selector.map_or(local.clone(), str::to_ascii_lowercase);
    check_selector(&selector)?;

    let mut wanted = vec![(selector.clone(), Algorithm::Rsa2048)];
    if ed25519 {
        wanted.push((format!("{selector}.ed25519"), Algorithm::Ed25519));
    }
    let files: Vec<PathBuf> =
        wanted.iter().map(|(selector, _)| key_file(&config.mail, selector, domain)).collect();
    // All or none: look before the first is made.
    if let Some(file) = files.iter().find(|file| file.symlink_metadata().is_ok()) {
        return Err(exists(file));
    }
    make_private_directory(&config.mail)?;
    for ((_, algorithm), file) in wanted.iter().zip(&files) {
        let pem = generate_pem(*algorithm).map_err(unusable)?;
        write_new(file, pem.as_bytes())?;
    }

    let keys: Vec<Found> =
        wanted.iter().zip(files).map(|((selector, _), file)| found(file, selector, domain)).collect();
    let mut text = String::new();
    for key in &keys {
        describe(&mut text, key)?;
    }
    text.push_str(&owner_hint(&address, &local, &keys));
    print(&text)
}

/// `key show`: the records of the address's keys again.
pub fn show(config: &Home, address: &str, json: bool) -> Result<(), Failure> {
    let address = parse(address)?;
    let mine =
        config.addresses.get(&address.to_string()).map(|entry| entry.keys.as_slice()).unwrap_or_default();
    let local = address.folded_local();
    let belongs = |key: &Found| {
        Some(&key.domain) == address.domain()
            && (key.selector == local
                || key.selector.strip_prefix(&local).is_some_and(|rest| rest.starts_with('.'))
                || mine.contains(&key.selector))
    };
    let keys: Vec<Found> = scan(config)?.into_iter().filter(belongs).collect();
    if keys.is_empty() {
        let remedy =
            format!("no key of {address} in {}; `pillarbox key new {address}`", config.mail.display());
        return Err(Failure::new(Exit::Config, remedy));
    }
    if json {
        let rows = keys.iter().map(row).collect::<Result<Vec<Row>, Failure>>()?;
        return print_json(&rows);
    }
    let mut text = String::new();
    for key in &keys {
        describe(&mut text, key)?;
    }
    print(&text)
}

/// `key list`: every key file, usable or not.
pub fn list(config: &Home, json: bool) -> Result<(), Failure> {
    let keys = scan(config)?;
    if json {
        let rows = keys.iter().map(|key| row(key).unwrap_or_else(|failure| unusable_row(key, failure)));
        return print_json(&rows.collect::<Vec<Row>>());
    }
    let mut text = String::new();
    if keys.is_empty() {
        let _ = writeln!(text, "No keys in {}; `pillarbox key new` makes one", config.mail.display());
    }
    for key in &keys {
        let what = match load(key) {
            Ok(loaded) => name(loaded.algorithm).to_owned(),
            Err(failure) => format!("unusable: {failure}"),
        };
        let _ = writeln!(text, "{}._domainkey.{}  {what}  {}", key.selector, key.domain, key.file.display());
    }
    print(&text)
}

/// A key file by its name, `SELECTOR@domain-dkim.pem`.
struct Found {
    file: PathBuf,
    selector: String,
    domain: Domain,
}

/// What `--json` says of a key.
#[derive(serde::Serialize)]
struct Row {
    selector: String,
    domain: Domain,
    file: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<Txt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

fn found(file: PathBuf, selector: &str, domain: &Domain) -> Found {
    Found { file, selector: selector.to_owned(), domain: domain.clone() }
}

fn scan(config: &Home) -> Result<Vec<Found>, Failure> {
    let entries = match std::fs::read_dir(&config.mail) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_failure(&config.mail, &error)),
    };
    let mut keys = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| io_failure(&config.mail, &error))?;
        let name = entry.file_name();
        let parts = name.to_str().and_then(|name| name.strip_suffix("-dkim.pem")?.rsplit_once('@'));
        if let Some((selector, domain)) = parts
            && let Ok(domain) = Domain::parse(domain)
        {
            keys.push(found(entry.path(), selector, &domain));
        }
    }
    keys.sort_by(|a, b| (&a.domain, &a.selector).cmp(&(&b.domain, &b.selector)));
    Ok(keys)
}

fn row(key: &Found) -> Result<Row, Failure> {
    let loaded = load(key)?;
    Ok(Row {
        selector: key.selector.clone(),
        domain: key.domain.clone(),
        file: key.file.clone(),
        algorithm: Some(name(loaded.algorithm)),
        record: Some(record(key, &loaded)?),
        error: None,
    })
}

fn unusable_row(key: &Found, failure: Failure) -> Row {
    Row {
        selector: key.selector.clone(),
        domain: key.domain.clone(),
        file: key.file.clone(),
        algorithm: None,
        record: None,
        error: Some(failure.message),
    }
}

fn describe(text: &mut String, key: &Found) -> Result<(), Failure> {
    let loaded = load(key)?;
    let _ = writeln!(text, "; {}, private key: {}", name(loaded.algorithm), key.file.display());
    text.push_str(&record(key, &loaded)?.zone_lines());
    Ok(())
}

fn record(key: &Found, loaded: &PrivateKey) -> Result<Txt, Failure> {
    let text = loaded.txt_record().map_err(unusable)?;
    Ok(Txt { name: format!("{}._domainkey.{}", key.selector, key.domain), text })
}

fn load(key: &Found) -> Result<PrivateKey, Failure> {
    PrivateKey::load(&key.file, &key.selector, &key.domain).map_err(unusable)
}

/// A selector that is not the local part has no owner on the server until an alias of that name gives it one.
fn owner_hint(address: &Address, local: &str, keys: &[Found]) -> String {
    let mut text = String::new();
    for key in keys.iter().filter(|key| key.selector != local) {
        let _ = writeln!(
            text,
            "; on the server, so that this selector is {address}'s:\n; pillarbox address add {}@{} --alias-of {address}",
            key.selector, key.domain
        );
    }
    text
}

/// Selectors are DNS labels (RFC 6376 section 3.1).
fn check_selector(selector: &str) -> Result<(), Failure> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if selector.split('.').all(label) && selector.len() <= 100 {
        return Ok(());
    }
    let message = format!("{selector:?} cannot be a selector (a DNS name); choose one: --selector NAME");
    Err(Failure::new(Exit::Usage, message))
}

fn key_file(mail: &Path, selector: &str, domain: &Domain) -> PathBuf {
    mail.join(format!("{selector}@{domain}-dkim.pem"))
}

fn make_private_directory(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| Failure::new(Exit::CantCreat, format!("{}: {error}", path.display())))
}

/// Writes a private file that was not there before: whole and durable under its name, or not at all.
fn write_new(file: &Path, content: &[u8]) -> Result<(), Failure> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(file),
        _ => Failure::new(Exit::CantCreat, format!("{}: {error}", file.display())),
    };
    let directory = file.parent().unwrap_or(Path::new("."));
    let staged = directory.join(format!(".new-key-{}", std::process::id()));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let written = rustix::fs::open(&staged, flags, Mode::RUSR | Mode::WUSR)
        .map_err(io::Error::from)
        .and_then(|handle| {
            let mut out = File::from(handle);
            out.write_all(content)?;
            out.sync_all()
        })
        .and_then(|()| Ok(rustix::fs::renameat_with(CWD, &staged, CWD, file, RenameFlags::NOREPLACE)?));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&staged);
        return Err(failed(error));
    }
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Rsa2048 => "RSA",
        Algorithm::Ed25519 => "Ed25519",
    }
}

/// Names of files and selectors are lower case, as addresses are compared.
fn parse(address: &str) -> Result<Address, Failure> {
    Address::parse(&address.to_ascii_lowercase())
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))
}

fn domain_of(address: &Address) -> Result<&Domain, Failure> {
    address
        .domain()
        .ok_or_else(|| Failure::new(Exit::Usage, format!("{address} has no domain name to publish keys in")))
}

fn exists(file: &Path) -> Failure {
    let message = format!("{} exists and is never overwritten; `key show` prints its record", file.display());
    Failure::new(Exit::CantCreat, message)
}

fn unusable(error: KeyError) -> Failure {
    Failure::new(Exit::Config, error.to_string())
}

fn io_failure(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::IoErr, format!("{}: {error}", path.display()))
}
