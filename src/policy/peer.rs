//! What is known of a client before it sends a letter: its address's name, what it calls itself, who lists it. Evidence for
//! the reader and for a filter; only a listing, by a list that the owner chose, decides anything.

use crate::mail::address::{Domain, Host};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// A client at the mx door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerEvidence {
    /// Its address.
    pub ip: IpAddr,
    /// What it called itself.
    pub helo: String,
    /// What is odd about that; honest servers are sometimes set up badly, so this decides nothing.
    pub helo_oddity: Option<HeloOddity>,
    /// The name of its address.
    pub name: PeerName,
    /// What each of the owner's lists says.
    pub listings: Vec<Listing>,
}

/// The name of an address, by PTR and back (RFC 8601 section 3, "iprev").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerName {
    /// A PTR record names this host, and the host has the address.
    Confirmed(Domain),
    /// PTR records name hosts, of which none has the address; the first of them.
    Unconfirmed(Domain),
    /// There is no PTR record with a host's name.
    Missing,
    /// DNS gave no answer: in words.
    Unknown(String),
}

impl PeerName {
    /// The name, if it is confirmed.
    pub fn confirmed(&self) -> Option<&Domain> {
        match self {
            PeerName::Confirmed(name) => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerName::Confirmed(name) => write!(f, "is {name}, there and back"),
            PeerName::Unconfirmed(name) => write!(f, "calls itself {name} in DNS, which has another address"),
            PeerName::Missing => f.write_str("has no name in DNS"),
            PeerName::Unknown(why) => write!(f, "has a name that could not be looked up ({why})"),
        }
    }
}

/// What a list of addresses says of a client (RFC 5782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The list's zone.
    pub list: Domain,
    /// What it says.
    pub answer: ListAnswer,
}

/// An answer of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListAnswer {
    /// The address is listed: the codes, and the list's reason, made printable.
    Listed(Vec<Ipv4Addr>, Option<String>),
    /// It is not.
    NotListed,
    /// Nobody can tell: a fault, or a code by which lists say that they do not answer us.
    CouldNotTell(String),
}

impl ListAnswer {
    /// What the A records of a query mean. 127.255.255.0/24 is where lists say that they will not or cannot answer (a public
    /// resolver, a typing error, too many queries), and what is not in 127.0.0.0/8 comes from whoever has bought the domain.
    pub fn from_codes(codes: Vec<Ipv4Addr>) -> ListAnswer {
        if codes.is_empty() {
            return ListAnswer::NotListed;
        }
        let says_listed = |code: &Ipv4Addr| code.octets()[0] == 127 && code.octets()[..3] != [127, 255, 255];
        let listed: Vec<Ipv4Addr> = codes.iter().copied().filter(says_listed).collect();
        match codes.iter().find(|code| !says_listed(code)) {
            None => ListAnswer::Listed(listed, None),
            Some(error) => ListAnswer::CouldNotTell(format!("it answers {error}, which is no listing")),
        }
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = &self.list;
        match &self.answer {
            ListAnswer::Listed(codes, reason) => {
                let codes: Vec<String> = codes.iter().map(Ipv4Addr::to_string).collect();
                write!(f, "{list} lists it ({})", codes.join(", "))?;
                reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
            }
            ListAnswer::NotListed => write!(f, "{list} does not list it"),
            ListAnswer::CouldNotTell(why) => write!(f, "{list} could not tell: {why}"),
        }
    }
}

/// The name that a list is asked for (RFC 5782 sections 2.1 and 2.4): octets or nibbles backwards, then the zone.
pub fn list_query(ip: IpAddr, list: &Domain) -> String {
    let labels: Vec<String> = match ip.to_canonical() {
        IpAddr::V4(v4) => v4.octets().iter().rev().map(u8::to_string).collect(),
        IpAddr::V6(v6) => v6
            .octets()
            .iter()
            .rev()
            .flat_map(|octet| [format!("{:x}", octet & 15), format!("{:x}", octet >> 4)])
            .collect(),
    };
    format!("{}.{list}", labels.join("."))
}

/// What is odd about a HELO name (RFC 5321 section 4.1.4 forbids to refuse mail for it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeloOddity {
    /// It is our own name.
    OurName,
    /// A literal, of another address than the client's.
    OtherAddress,
    /// An address without brackets.
    BareAddress,
    /// A name without a dot.
    Unqualified,
    /// Neither a name nor a literal.
    Malformed,
}

impl fmt::Display for HeloOddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeloOddity::OurName => "that is our own name",
            HeloOddity::OtherAddress => "that is another address than its own",
            HeloOddity::BareAddress => "that is an address without brackets",
            HeloOddity::Unqualified => "that is no full name",
            HeloOddity::Malformed => "that is neither a name nor an address",
        })
    }
}

/// What is odd about a HELO name, by its form alone.
pub fn helo_oddity(helo: &str, ip: IpAddr, our_name: &Domain) -> Option<HeloOddity> {
    if helo.parse::<IpAddr>().is_ok() {
        return Some(HeloOddity::BareAddress);
    }
    match Host::parse(helo) {
        Ok(Host::Literal(literal)) if literal.to_canonical() != ip.to_canonical() => {
            Some(HeloOddity::OtherAddress)
        }
        Ok(Host::Literal(_)) => None,
        Ok(Host::Domain(name)) if name == *our_name => Some(HeloOddity::OurName),
        Ok(Host::Domain(name)) if !name.as_str().contains('.') => Some(HeloOddity::Unqualified),
        Ok(Host::Domain(_)) => None,
        Err(_) => Some(HeloOddity::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_error_code_of_a_list_is_no_listing() {
        let answer = |codes: &[[u8; 4]]| ListAnswer::from_codes(codes.iter().map(|c| (*c).into()).collect());
        assert_eq!(answer(&[]), ListAnswer::NotListed);
        assert!(
            matches!(answer(&[[127, 0, 0, 2], [127, 0, 0, 10]]), ListAnswer::Listed(codes, None) if codes.len() == 2)
        );
        for error in [[127, 255, 255, 252], [127, 255, 255, 254], [127, 255, 255, 255], [203, 0, 113, 7]] {
            assert!(matches!(answer(&[error]), ListAnswer::CouldNotTell(_)), "{error:?}");
            assert!(matches!(answer(&[[127, 0, 0, 2], error]), ListAnswer::CouldNotTell(_)), "{error:?}");
        }
    }

    #[test]
    fn queries_are_spelled_backwards() {
        let list = Domain::parse("list.example").unwrap();
        assert_eq!(list_query(ip("192.0.2.99"), &list), "99.2.0.192.list.example");
        assert_eq!(list_query(ip("::ffff:192.0.2.99"), &list), "99.2.0.192.list.example");
        assert_eq!(
            list_query(ip("2001:db8::1"), &list),
            format!("1.{}8.b.d.0.1.0.0.2.list.example", "0.".repeat(23))
        );
    }

    #[test]
    fn odd_names_are_told_apart() {
        let ours = Domain::parse("mx.here.example").unwrap();
        let oddity = |helo| helo_oddity(helo, ip("192.0.2.1"), &ours);
        assert_eq!(oddity("mail.there.example"), None);
        assert_eq!(oddity("[192.0.2.1]"), None);
        assert_eq!(oddity("[192.0.2.2]"), Some(HeloOddity::OtherAddress));
        assert_eq!(oddity("192.0.2.1"), Some(HeloOddity::BareAddress));
        assert_eq!(oddity("MX.here.example"), Some(HeloOddity::OurName));
        assert_eq!(oddity("localhost"), Some(HeloOddity::Unqualified));
        assert_eq!(oddity("what(is)this"), Some(HeloOddity::Malformed));
    }
}
