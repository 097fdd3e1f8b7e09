//! What a server offers in its reply to EHLO.

use crate::smtp::reply::Reply;

/// The extensions that we would use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offers {
    pub(super) pipelining: bool,
    /// SIZE is offered; the largest message where it is limited.
    pub(super) size: Option<Option<u64>>,
    pub(super) eight_bit: bool,
    pub(super) smtputf8: bool,
    pub(super) dsn: bool,
    pub(super) starttls: bool,
    pub(super) auth_plain: bool,
    pub(super) auth_login: bool,
}

impl Offers {
    /// Reads the lines behind the first one (RFC 5321 section 4.1.1.1).
    pub(super) fn of(reply: &Reply) -> Offers {
        let mut offers = Offers::default();
        for line in reply.text.split('\n').skip(1) {
            let mut words = line.split_ascii_whitespace();
            match words.next().map(str::to_ascii_uppercase).as_deref() {
                Some("PIPELINING") => offers.pipelining = true,
                // RFC 1870 section 4: no number, or 0, is no limit.
                Some("SIZE") => {
                    let limit = words.next().and_then(|limit| limit.parse().ok());
                    offers.size = Some(limit.filter(|limit| *limit > 0));
                }
                Some("8BITMIME") => offers.eight_bit = true,
                Some("SMTPUTF8") => offers.smtputf8 = true,
                Some("DSN") => offers.dsn = true,
                Some("STARTTLS") => offers.starttls = true,
                Some("AUTH") => {
                    for mechanism in words {
                        offers.auth_plain |= mechanism.eq_ignore_ascii_case("PLAIN");
                        offers.auth_login |= mechanism.eq_ignore_ascii_case("LOGIN");
                    }
                }
                _ => {}
            }
        }
        offers
    }
}
