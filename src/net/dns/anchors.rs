//! Trust anchors: where the chain of signatures begins.

use super::DnsError;
use super::upstream::Upstream;
use hickory_resolver::proto::dnssec::TrustAnchors;
use hickory_resolver::proto::dnssec::rdata::{DNSSECRData, DS};
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, Query};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use std::path::Path;
use std::str::FromStr;

/// The root's keys, or those of a file.
pub(super) struct Anchors {
    keys: TrustAnchors,
    digests: Vec<(Name, DS)>,
    /// A zone that is signed, if anything is: to see whether signatures arrive here at all.
    zone: Name,
}

impl Anchors {
    /// The root's keys as the crate knows them.
    pub(super) fn root() -> Anchors {
        Anchors { keys: TrustAnchors::default(), digests: Vec::new(), zone: Name::root() }
    }

    /// DS records (one on a line) and DNSKEY records in master file format.
    pub(super) fn read(path: &Path) -> Result<Anchors, DnsError> {
        let fault = |why: &dyn std::fmt::Display| {
            DnsError(format!("dns.anchors: {}: {why}; want DS or DNSKEY records", path.display()))
        };
        let text = std::fs::read_to_string(path).map_err(|error| fault(&error))?;
        let mut keys = String::new();
        let (mut digests, mut zone) = (Vec::new(), None);
        for line in text.lines() {
            match digest(line).map_err(|why| fault(&why))? {
                Some(found) => digests.push(found),
                None => {
                    keys.push_str(line);
                    keys.push('\n');
                    let owner = line.split_whitespace().next().filter(|_| line.contains("DNSKEY"));
                    zone = zone.or(owner.and_then(|owner| Name::from_ascii(owner).ok()));
                }
            }
        }
        let keys = TrustAnchors::from_str(&keys).map_err(|error| fault(&error))?;
        let zone =
            digests.first().map(|(name, _)| name.clone()).or(zone).ok_or_else(|| fault(&"no record"))?;
        Ok(Anchors { keys, digests, zone })
    }

    /// The zone to ask for its keys, to see whether they can be verified.
    pub(super) fn zone(&self) -> &Name {
        &self.zone
    }

    /// The keys themselves; those of which only a digest is known are asked for.
    pub(super) async fn keys(
        &self,
        upstream: &Upstream,
    ) -> Result<TrustAnchors, hickory_resolver::net::NetError> {
        let mut keys = self.keys.clone();
        for (name, digest) in &self.digests {
            let query = Query::query(name.clone(), RecordType::DNSKEY);
            let mut options = DnsRequestOptions::default();
            options.edns_set_dnssec_ok = true;
            let answer = upstream.ask(DnsRequest::from_query(query, options)).await?;
            for record in answer.answers.iter().filter(|record| record.name == *name) {
                let RData::DNSSEC(DNSSECRData::DNSKEY(key)) = &record.data else { continue };
                if digest.covers(name, key).unwrap_or(false) {
                    keys.insert_with_name(key.public_key(), name.into());
                }
            }
        }
        Ok(keys)
    }
}

/// `owner [TTL] [IN] DS tag algorithm type digest`, if the line is that.
fn digest(line: &str) -> Result<Option<(Name, DS)>, String> {
    let line = line.split(';').next().unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    let Some(at) = words.iter().take(4).position(|word| word.eq_ignore_ascii_case("DS")) else {
        return Ok(None);
    };
    let (Some(owner), Some(data)) = (words.first().filter(|_| at > 0), words.get(at + 1..)) else {
        return Err(format!("no DS record: {line}"));
    };
    let mut name = Name::from_ascii(owner).map_err(|error| error.to_string())?;
    name.set_fqdn(true);
    match RData::try_from_str(RecordType::DS, &data.join(" ")) {
        Ok(RData::DNSSEC(DNSSECRData::DS(ds))) => Ok(Some((name, ds))),
        Ok(_) => Err(format!("no DS record: {line}")),
        Err(error) => Err(format!("{error}: {line}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Anchors, DnsError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Anchors::read(file.path())
    }

    #[test]
    fn digests_and_keys_are_read() {
        let root = "; IANA\n. 86400 IN DS 20326 8 2 \
                    E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D ; ksk-2017\n";
        let anchors = read(root).unwrap();
        assert_eq!((anchors.digests.len(), anchors.zone.is_root()), (1, true));
        let key = "test. IN DNSKEY 257 3 13 \
                   xHw9lmGTQSxAJUwqo6ZgLfIobShIQPfEInZLp3Q946AlKaNA1ejbnKgk4NyapF7Viz1Rug4O0OR1+/oE6PQosA==\n";
        assert_eq!(read(key).unwrap().zone, Name::from_ascii("test.").unwrap());
        assert_eq!(read(&format!("{root}{key}")).unwrap().digests.len(), 1);
    }

    #[test]
    fn what_is_no_anchor_is_refused() {
        for text in ["", "; nothing\n", ". IN DS 20326 8 2 nonsense\n", ". IN A 192.0.2.1\n", "DS 1 8 2 00\n"]
        {
            let error = read(text).err().expect(text).to_string();
            assert!(error.contains("dns.anchors"), "{text}: {error}");
        }
    }
}
