//! For tests: a table of keys instead of DNS, and signatures as a forger would write them.

use super::canon::{BodyHasher, Canon, Index};
use super::dmarc::DomainSource;
use super::keys::{Algorithm, PrivateKey, generate_pem};
use super::record::{KeySource, Records, Vouched};
use super::sign::{COVERED, folded};
use super::signature::mentions;
use super::tags::{TagList, squeezed};
use crate::mail::address::Domain;
use crate::mail::header::{Field, split_lenient};
use crate::net::dns::DnsError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::HashMap;
use std::sync::Mutex;

/// TXT records by name; counts who was asked. A name with no entry has no records; `None` is a fault.
#[derive(Default)]
pub struct Table {
    pub records: HashMap<String, Option<Vec<String>>>,
    pub asked: Mutex<Vec<String>>,
    /// What stands behind every key; none: nobody is asked.
    pub vouched: Option<Vouched>,
}

impl Table {
    pub fn publish(mut self, key: &PrivateKey) -> Table {
        self.records.insert(key.txt_name(), Some(vec![key.txt_record().unwrap()]));
        self
    }

    pub fn set(mut self, name: &str, records: Option<&[&str]>) -> Table {
        let records = records.map(|records| records.iter().map(|record| (*record).to_owned()).collect());
        self.records.insert(name.to_owned(), records);
        self
    }
}

impl KeySource for Table {
    async fn txt(&self, name: &str) -> Result<Vec<String>, DnsError> {
        self.asked.lock().unwrap().push(name.to_owned());
        match self.records.get(name) {
            Some(Some(records)) => Ok(records.clone()),
            Some(None) => Err(DnsError("SERVFAIL".into())),
            None => Ok(Vec::new()),
        }
    }

    async fn records(&self, name: &str) -> Result<Records, DnsError> {
        let vouched = self.vouched.clone().unwrap_or(Vouched::Unasked);
        Ok(Records { texts: self.txt(name).await?, vouched })
    }
}

impl DomainSource for Table {
    /// Asks under the name alone, where a test puts an empty list of records for "it exists".
    async fn exists(&self, name: &str) -> Result<bool, DnsError> {
        self.asked.lock().unwrap().push(name.to_owned());
        match self.records.get(name) {
            Some(Some(_)) => Ok(true),
            Some(None) => Err(DnsError("SERVFAIL".into())),
            None => Ok(false),
        }
    }
}

pub fn key(selector: &str, domain: &str, algorithm: Algorithm) -> PrivateKey {
    let pem = generate_pem(algorithm).unwrap();
    PrivateKey::from_pem(pem.as_bytes(), selector, &Domain::parse(domain).unwrap()).unwrap()
}

/// A DKIM-Signature over `message` whose text, but for `b=`, went through `change` before it was signed.
pub fn sign(message: &[u8], key: &PrivateKey, change: impl Fn(String) -> String) -> Vec<u8> {
    let header = split_lenient(message);
    let mut body = BodyHasher::new(Canon::Relaxed);
    body.update(&message[header.body_offset..]);
    let names: Vec<String> =
        COVERED.iter().flat_map(|name| [(*name).to_owned(), (*name).to_owned()]).collect();
    let unsigned = change(format!(
        " v=1; a={}; c=relaxed/relaxed; d={}; s={};\r\n h={};\r\n bh={};\r\n b=",
        key.algorithm.name(),
        key.domain,
        key.selector,
        folded(&names, ":"),
        STANDARD.encode(body.finish()),
    ));
    let list = TagList::parse(unsigned.as_bytes()).map(|tags| squeezed(tags.get("h").unwrap_or("from")));
    let names: Vec<String> = list.unwrap_or_else(|_| "from".into()).split(':').map(str::to_owned).collect();
    let own = Field { raw: b"", name: "DKIM-Signature", value: unsigned.as_bytes() };
    // A signature that does not name the seal is verified without it.
    let fields: Vec<Field<'_>> = match mentions(&own, "envelope-seal") {
        true => header.fields.clone(),
        false => header.fields.iter().filter(|field| !field.is("Envelope-Seal")).copied().collect(),
    };
    let input = Index::new(&fields).signed_input(Canon::Relaxed, &names, &own, own.value);
    let b = STANDARD.encode(key.sign(&input).unwrap());
    let b: Vec<&str> = b.as_bytes().chunks(70).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("DKIM-Signature:{unsigned}{}\r\n", b.join("\r\n ")).into_bytes()
}

pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}
