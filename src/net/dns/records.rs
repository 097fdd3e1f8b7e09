//! Single questions, as those who verify a stranger's letter ask them: what is there, as it stands. An empty answer is one
//! (NXDOMAIN, or no such records); only a fault is an error.

use super::name::show;
use super::{Answer, Dns, DnsError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

impl Dns {
    /// TXT records, the strings of each joined, as octets: a reader of SPF must see what is not ASCII.
    pub async fn txt_octets(&self, name: &str) -> Result<Vec<Vec<u8>>, DnsError> {
        self.collect(name, RecordType::TXT, |data| match data {
            RData::TXT(txt) => Some(txt.txt_data.concat()),
            _ => None,
        })
        .await
    }

    /// Whether the name exists at all, with these or other records.
    pub async fn exists(&self, name: &str) -> Result<bool, DnsError> {
        Ok(!matches!(self.ask(name, RecordType::A).await?, Answer::NoDomain))
    }

    /// A records.
    pub async fn ipv4(&self, name: &str) -> Result<Vec<Ipv4Addr>, DnsError> {
        self.collect(name, RecordType::A, |data| match data {
            RData::A(a) => Some(a.0),
            _ => None,
        })
        .await
    }

    /// AAAA records.
    pub async fn ipv6(&self, name: &str) -> Result<Vec<Ipv6Addr>, DnsError> {
        self.collect(name, RecordType::AAAA, |data| match data {
            RData::AAAA(aaaa) => Some(aaaa.0),
            _ => None,
        })
        .await
    }

    /// The hosts of MX records by preference, without the final dot; the root is empty. Names are as DNS has them, and may hold
    /// anything that presentation format can express.
    pub async fn exchanges(&self, name: &str) -> Result<Vec<String>, DnsError> {
        let mut found = self
            .collect(name, RecordType::MX, |data| match data {
                RData::MX(mx) => Some((mx.preference, show(&mx.exchange))),
                _ => None,
            })
            .await?;
        found.sort();
        Ok(found.into_iter().map(|(_, host)| host).collect())
    }

    /// The names of PTR records of an address, without the final dot.
    pub async fn names_of(&self, ip: IpAddr) -> Result<Vec<String>, DnsError> {
        let reverse = show(&Name::from(ip.to_canonical()));
        self.collect(&reverse, RecordType::PTR, |data| match data {
            RData::PTR(ptr) => Some(show(&ptr.0)),
            _ => None,
        })
        .await
    }

    async fn collect<T>(
        &self,
        name: &str,
        kind: RecordType,
        wanted: impl Fn(&RData) -> Option<T>,
    ) -> Result<Vec<T>, DnsError> {
        let answer = self.ask(name, kind).await?;
        Ok(answer.records().iter().filter_map(wanted).collect())
    }
}
