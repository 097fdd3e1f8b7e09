//! DMARC: no record, name or fault makes the judging panic; a pass needs an identifier that passes and shares at least its last
//! label with the author; and what is read is read the same with an unknown tag behind it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox::mail::address::Domain;
use pillarbox::policy::dmarc::DmarcResult;
use pillarbox::policy::dmarc::judge::{Author, Identifier, Mechanism};
use pillarbox::policy::dmarc::record::{Record, pick};
use pillarbox::policy::dmarc::walk::{Seen, Walk, names};

// The author's domain, the other one, and a record for each name on the way up, with lines between them; "!" is a fault.
fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.lines();
    let (Some(author), Some(other)) = (lines.next(), lines.next()) else { return };
    let (Ok(author), Ok(other)) = (Domain::parse(author), Domain::parse(other)) else { return };
    assert!(names(&author).len() <= 8 && names(&author)[0] == author.as_str());
    let records: Vec<&str> = lines.take(16).collect();
    for record in &records {
        let longer = Record::parse(&format!("{record};unknown=1"));
        assert_eq!(Record::parse(record), longer, "{record:?}");
    }
    let places: Vec<&str> = names(&author).into_iter().chain(names(&other)).collect();
    let look = |name: &str| {
        let at = places.iter().position(|place| *place == name).unwrap_or_default();
        match records.get(at) {
            None => Seen::Nothing,
            Some(&"!") => Seen::Fault("SERVFAIL".into()),
            Some(record) => match pick(&[(*record).to_owned()]) {
                Ok(found) => found.map_or(Seen::Nothing, Seen::Record),
                Err(count) => Seen::Several(count),
            },
        }
    };
    let walk = Walk::new(&other, look);
    let judged = Author { domain: author.clone(), walk: Walk::new(&author, look), exists: Some(Ok(true)) };
    let identifier = Identifier { domain: other.clone(), mechanism: Mechanism::Dkim, fault: None };
    let evidence = judged.judge(&[identifier], |_| Some(&walk));
    let top = |domain: &Domain| domain.as_str().rsplit('.').next().map(str::to_owned);
    assert!(evidence.result != DmarcResult::Pass || top(&author) == top(&other));
    assert!(judged.judge(&[], |_| None).result != DmarcResult::Pass, "passes with nothing");
    assert!(!evidence.why.contains('\n') && evidence.steps.iter().all(|step| !step.contains('\n')));
});
