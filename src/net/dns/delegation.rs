//! Where security ends: the insecure delegation below the last signed zone, looked for from the anchor down (RFC 4035
//! section 5.2).
//!
//! The crate looks for it from the bottom up, and asks anybody where the zones are cut: whoever answers can invent a cut
//! below a signed zone, and prove it insecure by what an ancestor's opt-out span or a stranger's DS records say.

use super::proofs::{ITERATIONS, Reach, covers, reach};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::dnssec::rdata::DNSSECRData;
use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType, RecordTypeSet};

/// What is known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// A signed zone begins here.
    Signed,
    /// No zone begins here.
    None,
    /// What is here and below is not signed, or not in a way that we can check.
    Insecure,
}

/// What the validated answer to a question for a name's DS records proves; nothing where it proves nothing. `zone` is the
/// last signed zone above the name, and there is no cut between the two.
pub(super) fn cut(zone: &Name, name: &Name, message: &Message) -> Option<Cut> {
    let secure = |record: &&Record| record.proof == Proof::Secure;
    let mut digests =
        message.answers.iter().filter(secure).filter(|record| record.name == *name).filter_map(|record| {
            match &record.data {
                RData::DNSSEC(DNSSECRData::DS(ds)) => Some(ds),
                _ => None,
            }
        });
    if let Some(first) = digests.next() {
        let usable = std::iter::once(first)
            .chain(digests)
            .any(|ds| ds.algorithm().is_supported() && ds.digest_type().is_supported());
        return Some(if usable { Cut::Signed } else { Cut::Insecure });
    }
    message.authorities.iter().filter(secure).find_map(|record| denied(zone, name, record))
}

/// What one record says of the name.
fn denied(zone: &Name, name: &Name, record: &Record) -> Option<Cut> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::NSEC(nsec)) if record.name == *name => here(nsec.type_set()),
        RData::DNSSEC(DNSSECRData::NSEC(nsec)) => covers(&record.name, nsec, name).then_some(Cut::None),
        RData::DNSSEC(DNSSECRData::NSEC3(nsec)) if record.name.base_name() == *zone => {
            // RFC 9276 section 3.2: too dear to be checked.
            if nsec.iterations() > ITERATIONS {
                return Some(Cut::Insecure);
            }
            match reach(&record.name, nsec, name)? {
                Reach::Match => here(nsec.type_set()),
                // There may be a delegation behind it that nobody signed for (RFC 5155 section 6).
                Reach::Cover if nsec.opt_out() => Some(Cut::Insecure),
                Reach::Cover => Some(Cut::None),
            }
        }
        _ => None,
    }
}

/// What the types at the name say. With an SOA they are the other side's of a cut, who has no say in it (RFC 6840 section
/// 4.4).
fn here(types: &RecordTypeSet) -> Option<Cut> {
    let has = |kind| types.contains(kind);
    match has(RecordType::NS) {
        false => Some(Cut::None),
        true => (!has(RecordType::SOA) && !has(RecordType::DS)).then_some(Cut::Insecure),
    }
}
