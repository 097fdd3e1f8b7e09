//! The trial's name server: knows the zone that it was given and nothing else; every other name is NXDOMAIN, and a
//! name with a label `servfail` is SERVFAIL.

use crate::error::{Exit, Failure};
use async_trait::async_trait;
use hickory_proto::op::{Header, HeaderCounts, Metadata, ResponseCode};
use hickory_proto::rr::{LowerName, Name, Record};
use hickory_proto::serialize::txt::Parser;
use hickory_server::net::runtime::Time;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, MessageResponseBuilder, ZoneType};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket};

/// The hidden program behind `try`: prints the address that it serves on (UDP and TCP), then serves for ever.
pub fn run(zone: &Path) -> Result<(), Failure> {
    let text = std::fs::read_to_string(zone)
        .map_err(|error| Failure::new(Exit::NoInput, format!("{}: {error}", zone.display())))?;
    super::runtime()?.block_on(async {
        let mut server = NameServer::start(&text).await?;
        crate::ops::print(&format!("{}\n", server.address()))?;
        server
            .server
            .block_until_done()
            .await
            .map_err(|error| Failure::new(Exit::OsErr, format!("name server: {error}")))
    })
}

/// A name server on loopback, on a port of its own. Dropping it ends it.
pub struct NameServer {
    server: hickory_server::Server<Answers>,
    zone: Arc<InMemoryZoneHandler>,
    address: SocketAddr,
}

impl NameServer {
    /// Serves the records of `zone` (master file format, absolute names).
    pub async fn start(zone: &str) -> Result<NameServer, Failure> {
        let records = InMemoryZoneHandler::empty(Name::root(), ZoneType::Primary, AxfrPolicy::Deny, None);
        let records = Arc::new(records);
        let mut catalog = Catalog::new();
        catalog.upsert(LowerName::from(Name::root()), vec![records.clone()]);
        let failed = |error: io::Error| Failure::new(Exit::OsErr, format!("name server: {error}"));
        let (udp, tcp) = bind().await.map_err(failed)?;
        let address = udp.local_addr().map_err(failed)?;
        let mut server = hickory_server::Server::new(Answers { catalog });
        server.register_socket(udp);
        server.register_listener(tcp, Duration::from_secs(10), 32);
        let server = NameServer { server, zone: records, address };
        server.add(AUTHORITY).await?;
        server.add(zone).await?;
        Ok(server)
    }

    /// Where it answers, by UDP and by TCP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds records; known to the next question.
    pub async fn add(&self, zone: &str) -> Result<(), Failure> {
        let records = parse(zone).map_err(|error| Failure::new(Exit::DataErr, format!("zone: {error}")))?;
        for record in records {
            self.zone.upsert(record, SERIAL).await;
        }
        Ok(())
    }
}

/// The records of a zone file whose names are absolute.
pub fn parse(zone: &str) -> Result<Vec<Record>, String> {
    // A zone in the sense of the parser has an origin, even where every name is absolute.
    let (_, sets) = Parser::new(format!("{zone}\n"), None, Some(Name::root()))
        .parse()
        .map_err(|error| error.to_string())?;
    Ok(sets.into_values().flat_map(|set| set.records_without_rrsigs().cloned().collect::<Vec<_>>()).collect())
}

const SERIAL: u32 = 1;
const AUTHORITY: &str =
    ". 60 IN SOA ns. hostmaster. 1 3600 600 86400 1\n. 60 IN NS ns.\nns. 60 IN A 127.0.0.1\n";

struct Answers {
    catalog: Catalog,
}

#[async_trait]
impl RequestHandler for Answers {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response_handle: R,
    ) -> ResponseInfo {
        if !asks_for_trouble(request) {
            return self.catalog.handle_request::<R, T>(request, response_handle).await;
        }
        let answer = MessageResponseBuilder::from_message_request(request)
            .error_msg(&request.metadata, ResponseCode::ServFail);
        match response_handle.send_response(answer).await {
            Ok(info) => info,
            Err(_) => ResponseInfo::from(Header {
                metadata: Metadata::response_from_request(&request.metadata),
                counts: HeaderCounts::default(),
            }),
        }
    }
}

fn asks_for_trouble(request: &Request) -> bool {
    let Ok(info) = request.request_info() else { return false };
    Name::from(info.query.name()).iter().any(|label| label == b"servfail")
}

/// One port for both; the second may be taken, so it is tried again.
async fn bind() -> io::Result<(UdpSocket, TcpListener)> {
    let mut attempt = 0;
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempt < 20 => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
