use super::*;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

const ZONE: &str = "
here.example. 60 IN MX 10 mx.here.example.
mx.here.example. 60 IN A 127.0.0.1
alias.example. 60 IN CNAME mx.here.example.
long.example. 60 IN TXT \"v=DKIM1; p=AAAA\" \"BBBB\"
";

/// A resolver that asks only this server, and that asks once.
fn resolver(server: &NameServer) -> TokioResolver {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.address().port();
        connection
    });
    let servers = vec![NameServerConfig::new(server.address().ip(), true, connections.to_vec())];
    let config = ResolverConfig::from_parts(None, vec![], servers);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build().unwrap()
}

#[tokio::test]
async fn declared_names_are_answered() {
    let server = NameServer::start(ZONE).await.unwrap();
    let resolver = resolver(&server);
    let mx = resolver.mx_lookup("here.example.").await.unwrap();
    assert!(format!("{mx:?}").contains("mx"), "{mx:?}");
    let a = resolver.lookup_ip("alias.example.").await.unwrap();
    assert_eq!(a.iter().next(), Some("127.0.0.1".parse().unwrap()));
    let txt = format!("{:?}", resolver.txt_lookup("long.example.").await.unwrap());
    assert!(!txt.is_empty());
}

#[tokio::test]
async fn all_others_do_not_exist() {
    let server = NameServer::start(ZONE).await.unwrap();
    let error = resolver(&server).mx_lookup("elsewhere.example.").await.unwrap_err();
    assert!(error.is_nx_domain(), "{error}");
    let error = resolver(&server).txt_lookup("mx.here.example.").await.unwrap_err();
    assert!(error.is_no_records_found() && !error.is_nx_domain(), "{error}");
}

#[tokio::test]
async fn trouble_is_servfail() {
    let server = NameServer::start(ZONE).await.unwrap();
    let error = resolver(&server).txt_lookup("me._domainkey.servfail.example.").await.unwrap_err();
    assert!(!error.is_no_records_found(), "{error}");
    assert!(error.to_string().to_lowercase().contains("server failure"), "{error}");
}

#[tokio::test]
async fn added_names_are_known_at_once() {
    let server = NameServer::start(ZONE).await.unwrap();
    server.add("new.example. 60 IN A 127.0.0.2").await.unwrap();
    let a = resolver(&server).lookup_ip("new.example.").await.unwrap();
    assert_eq!(a.iter().next(), Some("127.0.0.2".parse().unwrap()));
    assert!(server.add("broken.example. 60 IN A nonsense").await.is_err());
}
