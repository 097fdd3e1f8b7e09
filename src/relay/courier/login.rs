//! The password at `relay.via`: from a file or a command, read anew for each connection and never kept, so that a new
//! one counts at once.

use crate::config;
use crate::config::Via as Way;
use crate::net::session::Login;
use crate::net::transport::{Stderr, reach};
use crate::system::threads::blocking;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// The longest password, in octets.
const LONGEST: u64 = 1024;
/// How long the command may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who logs in, if anybody; an error names the key.
pub(super) async fn read(config: &config::Relay) -> Result<Option<Login>, String> {
    let Some(user) = config.user.clone() else { return Ok(None) };
    let (key, first) = match (&config.password_file, config.password_command.is_empty()) {
        (Some(file), _) => (format!("relay.password_file {}", file.display()), of_file(file.clone()).await),
        (None, false) => ("relay.password_command".to_owned(), of_command(&config.password_command).await),
        (None, true) => {
            return Err(
                "relay.user has no password: set relay.password_file or relay.password_command".into()
            );
        }
    };
    let password = first.and_then(|first| password(&first)).map_err(|why| format!("{key}: {why}"))?;
    Ok(Some(Login { user, password }))
}

async fn of_file(file: PathBuf) -> Result<Vec<u8>, String> {
    blocking(move || {
        let mut text = Vec::new();
        let opened = std::fs::File::open(file).map_err(|error| error.to_string())?;
        opened.take(LONGEST + 2).read_to_end(&mut text).map_err(|error| error.to_string())?;
        Ok(text)
    })
    .await
}

/// What a command that succeeds prints. Its words on stderr are the reason if it does not.
async fn of_command(command: &[String]) -> Result<Vec<u8>, String> {
    let work = async {
        let way = Way::Command(command.to_vec());
        let mut child = reach(&way, "", Stderr::Capture).await.map_err(|error| error.to_string())?;
        // Nobody answers its questions.
        let _ = child.shutdown().await;
        let line = first_line(&mut child).await;
        child.finish(PATIENCE).await.map(|()| line)
    };
    timeout(PATIENCE, work)
        .await
        .map_err(|_| format!("it took longer than {} seconds", PATIENCE.as_secs()))?
}

/// To the first line's end and no further: what a command leaves behind may hold its stdout open for ever.
async fn first_line(from: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let (mut text, mut piece) = (Vec::new(), [0; 256]);
    while !text.contains(&b'\n') && text.len() as u64 <= LONGEST + 1 {
        match from.read(&mut piece).await {
            Ok(count @ 1..) => text.extend_from_slice(piece.get(..count).unwrap_or_default()),
            _ => break,
        }
    }
    text
}

fn password(text: &[u8]) -> Result<String, String> {
    let line = text.split(|&octet| octet == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() as u64 > LONGEST {
        return Err(format!("its first line is longer than {LONGEST} octets"));
    }
    match String::from_utf8(line.to_vec()) {
        Ok(line) if line.is_empty() => Err("its first line is empty; it must be the password".into()),
        // NUL is what separates the words of AUTH PLAIN (RFC 4616).
        Ok(line) if !line.contains('\0') => Ok(line),
        _ => Err("its first line is no text".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of(change: impl FnOnce(&mut config::Relay)) -> Result<String, String> {
        let mut config = config::Relay { user: Some("me".into()), ..config::Relay::default() };
        change(&mut config);
        read(&config).await.map(|login| login.unwrap().password)
    }

    async fn of_shell(script: &str) -> Result<String, String> {
        of(|config| config.password_command = ["sh", "-c", script].map(String::from).to_vec()).await
    }

    #[tokio::test]
    async fn the_first_line_is_the_password() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "geheim é \r\nand more\n").unwrap();
        assert_eq!(of(|config| config.password_file = Some(file.path().into())).await.unwrap(), "geheim é ");
        assert_eq!(of_shell("echo one; echo two").await.unwrap(), "one");
        assert_eq!(of_shell("printf bare").await.unwrap(), "bare");
        assert_eq!(of_shell("cat; echo end of input").await.unwrap(), "end of input");
    }

    #[tokio::test]
    async fn what_a_command_leaves_behind_does_not_hold_us_up() {
        let pid = of_shell("sleep 600 & echo $!").await.unwrap();
        assert!(std::process::Command::new("kill").arg(pid).status().unwrap().success());
    }

    #[tokio::test]
    async fn a_fault_names_the_key_and_the_last_words() {
        let fault = of_shell("echo 'no secret key' >&2; exit 2").await.unwrap_err();
        assert!(fault.contains("relay.password_command") && fault.contains("no secret key"), "{fault}");
        let fault = of(|config| config.password_file = Some("/nonexistent/secret".into())).await.unwrap_err();
        assert!(fault.contains("relay.password_file /nonexistent/secret"), "{fault}");
        for script in ["true", "echo", "yes | tr -d '\\n' | head -c 9999", "printf 'a\\000b'"] {
            of_shell(script).await.unwrap_err();
        }
        let fault = of_shell("echo secret; exit 1").await.unwrap_err();
        assert!(!fault.contains("secret"), "{fault}");
    }
}
