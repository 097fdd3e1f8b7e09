//! What a stranger sends to cost us more than it costs him.

mod harness;

use harness::wire::Wire;
use harness::{Dns, Plan, ZONE};

#[test]
fn a_header_of_thousands_of_fields_is_refused_and_the_next_letter_is_not() {
    let dns = Dns::start(ZONE);
    let server = Plan::new("mx.here.example", &["me@here.example"]).start(&dns);
    let (mut wire, _) = Wire::greeted(server.mx());
    let letter = |fields: usize| format!("{}\r\nHello.\r\n", "x:\r\n".repeat(fields));
    let mut send = |letter: &str| wire.transact("", &["me@here.example"], letter.as_bytes());
    for fields in [2000, 50_000] {
        let reply = send(&letter(fields));
        assert!(reply.starts_with("552 5.3.4"), "{reply}");
    }
    let folded = format!("To: a@there.example{}\r\n\r\n", ",\r\n b@there.example".repeat(5000));
    for fine in [letter(1999), folded] {
        let reply = send(&fine);
        assert!(reply.starts_with("250"), "{reply}");
    }
    assert_eq!(server.letters("here.example/me").len(), 2);
}
