//! What a validated message proves: the crate's verdict, and where it falls short of RFC 4035 section 5, ours.

use super::validator::Checked;
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::dnssec::rdata::{DNSSECRData, NSEC, NSEC3};
use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::proto::serialize::binary::{BinDecodable, BinDecoder};

/// How often a name may be hashed for a proof; RFC 9276 wants it to be once.
pub(super) const ITERATIONS: u16 = 100;

/// What is known of what the message says that there is not. That something is insecure is the crate's word only.
pub(super) fn denial(name: &Name, Checked { message, unproven }: &Checked) -> Proof {
    let secure = |record: &&Record| record.proof == Proof::Secure;
    let proves = |record: &Record| matches!(record.record_type(), RecordType::NSEC | RecordType::NSEC3);
    match unproven {
        Some(Proof::Insecure) => return Proof::Insecure,
        Some(_) => return Proof::Bogus,
        None if message.authorities.iter().filter(secure).any(proves) => {
            // Beside answers, be they a signature alone, and without the SOA of the zone the crate looks for less: for the
            // proof of a wildcard that matched, and for one wildcard of many.
            let soa = |record: &Record| record.record_type() == RecordType::SOA && record.name.zone_of(name);
            let whole = message.answers.is_empty() && message.authorities.iter().filter(secure).any(soa);
            return if whole { Proof::Secure } else { Proof::Bogus };
        }
        None => {}
    }
    // The crate is content where every record is insecure, even if all of them are of somebody else's zone; but that is
    // how one would strip a signed zone of its TLSA records.
    let speaks = |record: &Record| record.name.zone_of(name) && record.proof == Proof::Insecure;
    let empty = message.authorities.is_empty();
    if empty || message.authorities.iter().any(speaks) { Proof::Insecure } else { Proof::Bogus }
}

/// The answer's records, with the proofs that the crate does not see. What a wildcard was expanded to is as good as the
/// proof that there is nothing closer (RFC 4035 section 5.3.4), and a CNAME as the DNAME that it follows from.
pub(super) fn answers(message: Message) -> Vec<Record> {
    let mut answers = message.answers;
    let wild: Vec<Expansion> = answers.iter().filter_map(Expansion::of).collect();
    for record in answers.iter_mut().filter(|record| record.proof == Proof::Secure) {
        for expansion in wild.iter().filter(|expansion| expansion.name == record.name) {
            let proven = message.authorities.iter().find_map(|proof| expansion.nothing_closer(proof));
            record.proof = record.proof.min(proven.unwrap_or(Proof::Bogus));
        }
    }
    let dnames: Vec<Record> =
        answers.iter().filter(|r| r.record_type() == RecordType::DNAME).cloned().collect();
    for record in &mut answers {
        let implied = dnames.iter().find(|dname| implies(dname, record));
        record.proof = implied.map_or(record.proof, |dname| dname.proof);
    }
    answers
}

/// RFC 6672 section 5.3.1: such a CNAME is not signed.
fn implies(dname: &Record, cname: &Record) -> bool {
    let (RData::CNAME(alias), RData::Unknown { rdata, .. }) = (&cname.data, &dname.data) else {
        return false;
    };
    let Ok(target) = Name::read(&mut BinDecoder::new(&rdata.anything)) else { return false };
    let below = cname.name.num_labels().saturating_sub(dname.name.num_labels());
    let prefix = Name::from_labels(cname.name.iter().take(usize::from(below)));
    let implied = prefix.and_then(|prefix| prefix.append_domain(&target));
    below > 0 && dname.name.zone_of(&cname.name) && implied.is_ok_and(|name| name == alias.0)
}

/// What a wildcard was expanded to.
struct Expansion {
    name: Name,
    /// The zone.
    signer: Name,
    /// How many labels stand behind the wildcard's asterisk.
    labels: usize,
}

impl Expansion {
    fn of(record: &Record) -> Option<Expansion> {
        let RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) = &record.data else { return None };
        let (name, signer) = (record.name.clone(), rrsig.input().signer_name.clone());
        let labels = rrsig.input().num_labels;
        (labels < name.num_labels()).then_some(Expansion { name, signer, labels: labels.into() })
    }

    /// What an NSEC or NSEC3 record proves of the wildcard's having been the closest to match. The crate wants the
    /// wildcard itself to be denied, which it cannot be, and takes many an expansion for bogus.
    fn nothing_closer(&self, record: &Record) -> Option<Proof> {
        let name = &self.name;
        match &record.data {
            _ if record.proof != Proof::Secure => None,
            RData::DNSSEC(DNSSECRData::NSEC(nsec)) => {
                let closest =
                    common_labels(name, &record.name).max(common_labels(name, nsec.next_domain_name()));
                let proven = covers(&record.name, nsec, name) && closest == self.labels;
                proven.then_some(Proof::Secure)
            }
            // RFC 5155 section 8.8: what has one label more than the wildcard's own parent must not exist. An ancestor's
            // hashes, or a child's, say nothing of it.
            RData::DNSSEC(DNSSECRData::NSEC3(nsec)) if record.name.base_name() == self.signer => {
                match reach(&record.name, nsec, &name.trim_to(self.labels + 1))? {
                    // Behind opt-out there may be an insecure delegation (RFC 5155 section 9.2).
                    Reach::Cover if nsec.opt_out() => Some(Proof::Insecure),
                    Reach::Cover => Some(Proof::Secure),
                    Reach::Match => None,
                }
            }
            _ => None,
        }
    }
}

/// How an NSEC3 record speaks of a name.
pub(super) enum Reach {
    /// The name is there, or something below it.
    Match,
    /// There is no such name.
    Cover,
}

/// Whether a record of the name's own zone speaks of it.
pub(super) fn reach(owner: &Name, nsec: &NSEC3, name: &Name) -> Option<Reach> {
    if nsec.iterations() > ITERATIONS {
        return None;
    }
    let hash = nsec.hash_algorithm().hash(nsec.salt(), name, nsec.iterations()).ok()?;
    let (start, hash, end) = (base32hex(owner.iter().next()?)?, hash.as_ref(), nsec.next_hashed_owner_name());
    let (after, before) = (&start[..] < hash, hash < end);
    let within = if &start[..] < end { after && before } else { after || before };
    match &start[..] == hash {
        true => Some(Reach::Match),
        false => within.then_some(Reach::Cover),
    }
}

/// RFC 4648 section 7, as NSEC3's owner names have it.
fn base32hex(label: &[u8]) -> Option<Vec<u8>> {
    let (mut octets, mut value, mut bits) = (Vec::new(), 0u32, 0);
    for &c in label {
        value = (value << 5 | char::from(c).to_digit(32)?) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            octets.push((value >> bits & 0xff) as u8);
        }
    }
    Some(octets)
}

/// RFC 4034 section 6.1 for the order, RFC 6840 section 4.1 for whom a delegation's NSEC says nothing about.
pub(super) fn covers(owner: &Name, nsec: &NSEC, name: &Name) -> bool {
    let next = nsec.next_domain_name();
    let last = next <= owner;
    let within = owner < name && (name < next || last && next.zone_of(name));
    within && !(nsec.is_ancestor_delegation() && owner.zone_of(name))
}

fn common_labels(one: &Name, other: &Name) -> usize {
    let same = |(a, b): &(&[u8], &[u8])| a.eq_ignore_ascii_case(b);
    one.iter().rev().zip(other.iter().rev()).take_while(same).count()
}
