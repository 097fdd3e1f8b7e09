//! The eight cases of a letter: which door, from whom, to whom.

use crate::mail::address::Address;
use crate::mail::envelope::ReversePath;
use crate::smtp::Door;

/// Whom an address belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// To us.
    Me,
    /// To anybody else.
    Someone,
}

impl Party {
    /// `ours` in the table's word.
    pub fn ours(ours: bool) -> Party {
        if ours { Party::Me } else { Party::Someone }
    }

    /// The party of a sender. `<>` is someone: at mx a bounce must come in; at submission, where someone may nothing,
    /// it is refused.
    pub fn of_sender(path: &ReversePath, is_ours: impl FnOnce(&Address) -> bool) -> Party {
        Party::ours(path.address().is_some_and(is_ours))
    }
}

/// What becomes of a letter to one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Treatment {
    /// It goes into the recipient's directory.
    Deliver,
    /// It goes to the recipient's own server.
    Relay,
    /// It is refused.
    Refuse,
}

/// The table, recipient by recipient:
///
/// | case | door | from | to | |
/// |---|---|---|---|---|
/// | 1 | mx | someone | me | deliver |
/// | 2 | mx | me | someone | refuse |
/// | 3 | mx | someone | someone | refuse |
/// | 4 | mx | me | me | refuse |
/// | 5 | submission | someone | me | refuse |
/// | 6 | submission | me | someone | relay |
/// | 7 | submission | someone | someone | refuse |
/// | 8 | submission | me | me | deliver |
///
/// At mx a sender is "me" when his *domain* is ours; at submission his *address* must exist as well.
pub fn treat(door: Door, from: Party, to: Party) -> Treatment {
    use Party::{Me, Someone};
    match (door, from, to) {
        (Door::Mx, Someone, Me) => Treatment::Deliver,
        (Door::Mx, Me, Someone) => Treatment::Refuse,
        (Door::Mx, Someone, Someone) => Treatment::Refuse,
        (Door::Mx, Me, Me) => Treatment::Refuse,
        (Door::Submission, Someone, Me) => Treatment::Refuse,
        (Door::Submission, Me, Someone) => Treatment::Relay,
        (Door::Submission, Someone, Someone) => Treatment::Refuse,
        (Door::Submission, Me, Me) => Treatment::Deliver,
    }
}

/// The case's number in the table.
pub fn number(door: Door, from: Party, to: Party) -> u8 {
    use Party::{Me, Someone};
    let of_mx = match (from, to) {
        (Someone, Me) => 1,
        (Me, Someone) => 2,
        (Someone, Someone) => 3,
        (Me, Me) => 4,
    };
    match door {
        Door::Mx => of_mx,
        Door::Submission => of_mx + 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Party::{Me, Someone};
    use Treatment::{Deliver, Refuse, Relay};

    fn case(number: u8, door: Door, from: Party, to: Party, wanted: Treatment) {
        assert_eq!(super::number(door, from, to), number);
        assert_eq!(treat(door, from, to), wanted, "case {number}");
    }

    #[test]
    fn the_eight_cases() {
        case(1, Door::Mx, Someone, Me, Deliver);
        case(2, Door::Mx, Me, Someone, Refuse);
        case(3, Door::Mx, Someone, Someone, Refuse);
        case(4, Door::Mx, Me, Me, Refuse);
        case(5, Door::Submission, Someone, Me, Refuse);
        case(6, Door::Submission, Me, Someone, Relay);
        case(7, Door::Submission, Someone, Someone, Refuse);
        case(8, Door::Submission, Me, Me, Deliver);
    }

    #[test]
    fn a_bounce_comes_in_and_is_never_submitted() {
        let null = Party::of_sender(&ReversePath::Null, |_| true);
        assert_eq!(treat(Door::Mx, null, Me), Deliver);
        assert_eq!(treat(Door::Mx, null, Someone), Refuse);
        assert_eq!(treat(Door::Submission, null, Me), Refuse);
        assert_eq!(treat(Door::Submission, null, Someone), Refuse);
    }

    #[test]
    fn a_sender_is_whose_address_it_is() {
        let path = ReversePath::Address(Address::parse("me@here.example").unwrap());
        assert_eq!(Party::of_sender(&path, |_| true), Me);
        assert_eq!(Party::of_sender(&path, |_| false), Someone);
    }
}
