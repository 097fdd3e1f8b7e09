use super::*;
use crate::net::tls::TlsClient;
use crate::policy::tls::Demand;
use rcgen::generate_simple_self_signed;
use std::time::Duration;
use tokio::io::duplex;

const PATIENCE: Duration = Duration::from_secs(60);

fn pair(names: &[&str]) -> Pair {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = generate_simple_self_signed(names).unwrap();
    Pair::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes()).unwrap()
}

/// The certificate that a client is shown who asks for `name`.
async fn shown_to(server: &TlsServer, name: &str) -> Vec<u8> {
    let (near, far) = duplex(65536);
    let server = server.clone();
    tokio::spawn(async move { server.accept(far, PATIENCE).await.map(|_| ()) });
    let client = TlsClient::new(None).unwrap();
    let (stream, _) = client.handshake(near, &[name], &Demand::Opportunistic, PATIENCE).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn each_name_is_shown_its_certificate_and_all_others_the_first() {
    let (first, second) = (pair(&["mx.one.example"]), pair(&["mx.two.example", "*.three.example"]));
    let server = TlsServer::new(vec![first.clone(), second.clone()]).unwrap();
    let rows = [
        ("mx.one.example", &first),
        ("mx.two.example", &second),
        ("a.three.example", &second),
        ("a.b.three.example", &first),
        ("three.example", &first),
        ("127.0.0.1", &first),
    ];
    for (name, wanted) in rows {
        assert_eq!(shown_to(&server, name).await, wanted.certificate(), "{name}");
    }
    server.show(vec![second.clone()]);
    assert_eq!(shown_to(&server, "mx.one.example").await, second.certificate());
}

#[test]
fn a_chain_and_a_key_that_do_not_belong_together_are_told_apart() {
    let made = generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    let other = generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let why = |chain: &str, key: &str| Pair::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err().0;
    assert!(why(&chain, &other.signing_key.serialize_pem()).contains("not that of the first certificate"));
    assert!(why("", &key).contains("no certificate"));
    assert!(why(&chain[..100], &key).contains("certificate"));
    assert!(why(&chain, &key[..60]).contains("no PEM private key"));
    let facts = Pair::from_pem(chain.as_bytes(), key.as_bytes()).unwrap().facts;
    assert_eq!(facts.names, ["a.example"]);
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(
        why(&format!("{chain}{}{garbage}", other.cert.pem()), &key).contains("certificate 3 of the chain")
    );
    assert!(Pair::from_pem(format!("{chain}{}", other.cert.pem()).as_bytes(), key.as_bytes()).is_ok());
}
