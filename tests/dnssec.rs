//! Names with DNSSEC, asked of Debian's knot (validating ourselves) and of Debian's unbound (believing it).

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

mod harness;

use harness::signed::{Fault, Signed, Zone};

#[test]
fn harness_stands() {
    let mut signed = Signed::start(&[
        Zone::signed("good.test", "@ MX 10 mx\nmx A 127.0.0.1"),
        Zone::nsec3("three.test", "@ MX 10 mx\nmx A 127.0.0.1"),
        Zone::unsigned("plain.test", "@ MX 10 mx\nmx A 127.0.0.1"),
        Zone::dead("dead.test"),
    ]);
    let resolver = signed.resolver();
    signed.spoil("good.test", Fault::WrongDs);
    signed.spoil("three.test", Fault::Expired);
    signed.set("plain.test", "@ MX 20 mx");
    let _ = resolver;
}
