//! Our account with an authority: `state_dir/tls/accounts/HOST-DIGEST.json`, one for each directory, so that nothing is lost
//! by trying another.

use super::client::{Client, Trouble};
use crate::certs::durable;
use crate::system::threads::blocking;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use instant_acme::{Account, Key};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// The file of our account with one authority.
#[derive(Clone, Debug)]
pub struct Accounts {
    path: PathBuf,
    directory: String,
    /// `mailto:` URLs.
    contact: Vec<String>,
}

/// What is kept.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    /// The authority's directory, for people who look.
    directory: String,
    /// PKCS#8 in base64.
    key: String,
    /// The account's URL, once the authority has told it.
    #[serde(default)]
    id: Option<String>,
    /// The contacts that it was told.
    #[serde(default)]
    contact: Vec<String>,
}

impl Accounts {
    /// In `state_dir/tls`.
    pub fn of(tls: &Path, directory: &str, contact: Vec<String>) -> Accounts {
        let host = directory.trim_start_matches("https://").split(['/', ':']).next().unwrap_or_default();
        let host: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c)).collect();
        let hash: String = digest(&SHA256, directory.as_bytes())
            .as_ref()
            .iter()
            .take(6)
            .map(|o| format!("{o:02x}"))
            .collect();
        let name = format!("{}-{hash}.json", host.get(..100).unwrap_or(&host));
        Accounts { path: tls.join("accounts").join(name), directory: directory.to_owned(), contact }
    }

    /// Makes the directory. Blocks.
    pub fn prepare(&self) -> io::Result<()> {
        self.path.parent().map_or(Ok(()), durable::make_directory)
    }

    /// The account, which is made where there is none yet. Its key is durable before the authority hears of it: a crash in
    /// between finds the same account again (RFC 8555 section 7.3.1).
    pub async fn open(&self, client: &Client) -> Result<Account, Trouble> {
        let mut kept = self.kept().await?;
        let key = STANDARD.decode(&kept.key).map_err(|error| self.unusable(error))?;
        let key = PrivatePkcs8KeyDer::from(key);
        let account = match &kept.id {
            Some(id) => {
                let builder = Account::builder_with_http(client.boxed());
                builder.from_parts(id.clone(), key, self.directory.clone()).await?
            }
            None => {
                let signer = Key::from_pkcs8_der(key.clone_key()).map_err(|error| self.unusable(error))?;
                let builder = Account::builder_with_http(client.boxed());
                let pair = (signer, PrivateKeyDer::Pkcs8(key));
                let (account, _) = builder
                    .create_from_key(pair, self.directory.clone())
                    .await
                    .map_err(Trouble::of_account)?;
                kept.id = Some(account.id().to_owned());
                self.store(kept.clone()).await?;
                tracing::info!(
                    directory = self.directory,
                    "an account with the certificate authority is made"
                );
                account
            }
        };
        if kept.contact != self.contact {
            let contact: Vec<&str> = self.contact.iter().map(String::as_str).collect();
            // A courtesy: whether it takes them or not, certificates are what is wanted, and it is told them once.
            match account.update_contacts(&contact).await.map_err(Trouble::of_account) {
                Err(trouble) if trouble.is("invalidContact") || trouble.is("unsupportedContact") => {
                    let (directory, why) = (&self.directory, trouble.why);
                    tracing::warn!(directory, why, "the authority does not take our contacts");
                }
                other => other?,
            }
            kept.contact.clone_from(&self.contact);
            self.store(kept).await?;
        }
        Ok(account)
    }

    /// The account, if the authority knows it already.
    pub async fn existing(&self, client: &Client) -> Result<Option<Account>, Trouble> {
        let path = self.path.clone();
        match blocking(move || path.exists()).await {
            true if self.kept().await?.id.is_some() => self.open(client).await.map(Some),
            _ => Ok(None),
        }
    }

    /// The authority says that it does not know us: the same key is to be registered again.
    pub async fn forget(&self) -> Result<(), Trouble> {
        let mut kept = self.kept().await?;
        (kept.id, kept.contact) = (None, Vec::new());
        self.store(kept).await
    }

    async fn kept(&self) -> Result<Kept, Trouble> {
        let path = self.path.clone();
        match blocking(move || std::fs::read(&path)).await {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| self.unusable(error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (_, key) = Key::generate_pkcs8()?;
                let key = STANDARD.encode(key.secret_pkcs8_der());
                let kept = Kept { directory: self.directory.clone(), key, id: None, contact: Vec::new() };
                self.store(kept.clone()).await?;
                Ok(kept)
            }
            Err(error) => Err(self.unusable(error)),
        }
    }

    async fn store(&self, kept: Kept) -> Result<(), Trouble> {
        let path = self.path.clone();
        let write = move || {
            let text = serde_json::to_vec_pretty(&kept).map_err(io::Error::other)?;
            durable::write(&path, &text)
        };
        blocking(write).await.map_err(|error| self.unusable(error))
    }

    fn unusable(&self, error: impl std::fmt::Display) -> Trouble {
        let path = self.path.display();
        Trouble::ours(format!("{path}: {error}; correct it, or move it away and another account is made"))
    }
}
