//! What a server can take.

use super::*;

#[test]
fn what_the_server_cannot_take_is_refused_before_it_is_asked() {
    let refusal = |request: Request, ehlo: &str| {
        let (wrote, outcome) = play(request, &["220 mx\r\n", ehlo]);
        assert_eq!(wrote, "EHLO home.example\nQUIT\n");
        let reply = refused(&outcome.fates[0]);
        (reply.code, reply.enhanced.unwrap())
    };
    let mut large = request(&["a@b.example"]);
    large.size = 1001;
    assert_eq!(refusal(large, EHLO), (552, (5, 3, 4)));
    let mut eight = request(&["a@b.example"]);
    eight.eight_bit = true;
    assert_eq!(refusal(eight, "250 mx\r\n"), (554, (5, 6, 3)));
    let mut utf8 = request(&["a@b.example"]);
    (utf8.envelope.sender.smtputf8, utf8.eight_bit) = (true, true);
    assert_eq!(refusal(utf8, "250-mx\r\n250 8BITMIME\r\n"), (553, (5, 6, 7)));
    assert_eq!(refusal(request(&["é@b.example"]), "250 mx\r\n"), (553, (5, 6, 7)));
    // SIZE without a number, or 0, is no limit.
    let (wrote, _) = play(request(&["a@b.example"]), &["220 mx\r\n", "250-mx\r\n250 SIZE 0\r\n"]);
    assert!(wrote.contains(" SIZE=100\n"), "{wrote}");
}

#[test]
fn one_recipient_that_needs_smtputf8_does_not_hold_up_the_others() {
    let said = ["220 mx\r\n", "250 mx\r\n", "250 1\r\n", "250 2\r\n", "354 go\r\n", "250 3\r\n"];
    let (wrote, outcome) = play(request(&["é@b.example", "a@b.example"]), &said);
    assert!(!wrote.contains('é'));
    assert_eq!(refused(&outcome.fates[0]).code, 553);
    assert!(accepted(&outcome.fates[1]));
    let mut all = request(&["é@b.example", "a@b.example"]);
    all.all_or_none = true;
    let (wrote, outcome) = play(all, &said);
    assert_eq!(wrote, "EHLO home.example\nQUIT\n");
    assert!(deferred(&outcome.fates[1]).contains("not sent"));
}

#[test]
fn letters_that_are_all_ascii_go_to_domains_that_are_not() {
    let mut letter = request(&["me@bücher.example"]);
    // Who submits it has to say SMTPUTF8 for such an address.
    letter.envelope.sender.smtputf8 = true;
    let (wrote, outcome) = play(
        letter,
        &["220 mx\r\n", "250-mx\r\n250 PIPELINING\r\n", "250 1\r\n250 2\r\n354 go\r\n", "250 ok\r\n"],
    );
    assert!(wrote.contains("MAIL FROM:<me@here.example>\nRCPT TO:<me@xn--bcher-kva.example>\n"), "{wrote}");
    assert!(accepted(&outcome.fates[0]));
}
