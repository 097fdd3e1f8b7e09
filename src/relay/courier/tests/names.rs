//! A resolver that says of each name what the test wants, DNSSEC's verdict included.

use crate::config;
use crate::net::dns::Dns;
use crate::policy::tls::Tlsa;
use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, TLSA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::net::UdpSocket;

/// The names that there are.
#[derive(Clone, Default)]
pub(super) struct Names {
    records: Vec<(Name, RData)>,
    /// Names that are not signed, where the others are.
    insecure: Vec<Name>,
    /// Names that the resolver fails for, as it does for bogus ones.
    broken: Vec<Name>,
    signed: bool,
}

impl Names {
    /// `there.test MX 10 mx.there.test`, `mx.there.test A 127.0.0.1`, `x.test CNAME y.test`.
    pub(super) fn new(records: &[&str]) -> Names {
        records.iter().fold(Names::default(), |names, record| names.and(record))
    }

    pub(super) fn and(mut self, record: &str) -> Names {
        let words: Vec<&str> = record.split(' ').collect();
        let data = match words[1..] {
            ["MX", preference, host] => RData::MX(MX::new(preference.parse().unwrap(), name(host))),
            ["CNAME", target] => RData::CNAME(CNAME(name(target))),
            ["A", ip] => address(ip.parse().unwrap()),
            _ => panic!("{record}"),
        };
        self.records.push((name(words[0]), data));
        self
    }

    pub(super) fn tlsa(mut self, host: &str, port: u16, record: &Tlsa) -> Names {
        let Tlsa { usage, selector, matching, ref data } = *record;
        let data = TLSA::new(usage.into(), selector.into(), matching.into(), data.clone());
        self.records.push((name(&format!("_{port}._tcp.{host}")), RData::TLSA(data)));
        self
    }

    pub(super) fn signed(self) -> Names {
        Names { signed: true, ..self }
    }

    pub(super) fn insecure(mut self, text: &str) -> Names {
        self.insecure.push(name(text));
        self
    }

    pub(super) fn broken(mut self, text: &str) -> Names {
        self.broken.push(name(text));
        self
    }

    /// A resolver that trusts what it is told.
    pub(super) async fn resolver(self) -> Dns {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = socket.local_addr().unwrap();
        let names = Arc::new(self);
        tokio::spawn(async move {
            let mut datagram = [0; 1500];
            while let Ok((length, client)) = socket.recv_from(&mut datagram).await {
                let question = Message::from_vec(&datagram[..length]).unwrap();
                socket.send_to(&names.answer(&question), client).await.unwrap();
            }
        });
        let dnssec = Some(config::Dnssec::Trust);
        Dns::new(&config::Dns { servers: vec![server], dnssec, ..config::Dns::default() }).unwrap()
    }

    fn answer(&self, question: &Message) -> Vec<u8> {
        let query = question.queries[0].clone();
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        answer.metadata.recursion_desired = true;
        answer.metadata.recursion_available = true;
        answer.metadata.authentic_data = self.signed;
        if let Some(edns) = question.edns.clone() {
            answer.set_edns(edns);
        }
        let (mut wanted, mut exists) = (query.name().clone(), false);
        answer.add_query(query.clone());
        loop {
            if self.broken.contains(&wanted) {
                answer.metadata.response_code = ResponseCode::ServFail;
                answer.metadata.authentic_data = false;
                break;
            }
            answer.metadata.authentic_data &= !self.insecure.contains(&wanted);
            let here: Vec<&RData> =
                self.records.iter().filter(|(owner, _)| *owner == wanted).map(|(_, data)| data).collect();
            exists |= !here.is_empty();
            let kind = query.query_type();
            let alias = here.iter().find_map(|data| match data {
                RData::CNAME(alias) => Some(alias),
                _ => None,
            });
            let fits = |data: &&&RData| data.record_type() == kind || data.record_type() == RecordType::CNAME;
            answer.add_answers(
                here.iter().filter(fits).map(|data| Record::from_rdata(wanted.clone(), 60, (**data).clone())),
            );
            match alias {
                Some(CNAME(target)) => wanted = target.clone(),
                None => break,
            }
        }
        if !exists && answer.metadata.response_code == ResponseCode::NoError {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        answer.to_vec().unwrap()
    }
}

fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).unwrap();
    name.set_fqdn(true);
    name
}

fn address(ip: IpAddr) -> RData {
    match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}
