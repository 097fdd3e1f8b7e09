//! Real servers, `openssl s_server`, with certificates and versions that rustls would never offer.

use super::{HOST, Identity, PATIENCE, Secured, TlsError, pki, unverified};
use crate::net::tls::signature;
use crate::policy::tls::Demand;
use rcgen::PKCS_ECDSA_P256_SHA256;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process;

/// `key.pem` and `cert.pem`.
struct Made(TempDir);

impl Made {
    /// A certificate that signs itself: `openssl req -x509` with these arguments.
    fn version_3(arguments: &str) -> Made {
        let made = Made(tempfile::tempdir().unwrap());
        let request =
            format!("req -x509 -nodes -keyout key.pem -out cert.pem -subj /CN={HOST} -days 9 {arguments}");
        openssl(made.0.path(), &request);
        made
    }

    /// A certificate of version 1, which is what `openssl x509 -req` makes where nothing is asked for.
    fn version_1(arguments: &str) -> Made {
        let made = Made(tempfile::tempdir().unwrap());
        let directory = made.0.path();
        openssl(
            directory,
            &format!("req -new -nodes -keyout key.pem -out req.pem -subj /CN={HOST} {arguments}"),
        );
        openssl(directory, "x509 -req -in req.pem -signkey key.pem -out cert.pem -days 9");
        let text = openssl(directory, "x509 -in cert.pem -noout -text");
        assert!(text.contains("Version: 1 "), "{text}");
        made
    }

    fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.0.path().join("cert.pem")).unwrap()
    }

    /// What comes of one connection to a server that shows this.
    async fn shake(&self, flags: &str, demand: &Demand) -> Result<Secured, String> {
        let arguments =
            format!("s_server -accept 127.0.0.1:0 -naccept 1 -cert cert.pem -key key.pem {flags}");
        let mut server = process::Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next_line().await.unwrap().expect("openssl says where it listens");
            if let Some(address) = line.strip_prefix("ACCEPT ") {
                break address.to_owned();
            }
        };
        let stream = TcpStream::connect(address).await.unwrap();
        let client = pki::Pki::new(&PKCS_ECDSA_P256_SHA256).client();
        let outcome = client.handshake(stream, &[HOST], demand, PATIENCE).await;
        outcome.map(|(_, secured)| secured).map_err(|TlsError(why)| why)
    }

    async fn identity(&self, flags: &str, demand: &Demand) -> Result<Identity, String> {
        self.shake(flags, demand).await.map(|secured| secured.identity)
    }
}

fn openssl(directory: &Path, arguments: &str) -> String {
    let done =
        Command::new("openssl").args(arguments.split_whitespace()).current_dir(directory).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// OpenSSL itself refuses what is weak unless it is told not to.
const LAX: &str = "-cipher ALL:@SECLEVEL=0";

#[tokio::test]
async fn versions_1_2_and_1_3_are_spoken_and_no_older_one() {
    let made = Made::version_3("-newkey rsa:2048");
    let version = async |flags| made.shake(flags, &Demand::Encrypted).await.map(|secured| secured.version);
    assert_eq!(version("-tls1_2").await, Ok("TLSv1.2".into()));
    assert_eq!(version("-tls1_3").await, Ok("TLSv1.3".into()));
    let why = "it speaks neither TLS 1.2 nor TLS 1.3";
    assert_eq!(version(&format!("-tls1_1 {LAX}")).await, Err(why.into()));
}

#[tokio::test]
async fn no_certificate_is_too_odd_for_opportunism_and_what_it_is_worth_is_said() {
    let old = "its certificate is of version 1, which has no names";
    let weak = "its certificate has an RSA key of 1024 bits; 2048 to 8192 can be checked";
    let authority = "its certificate is an authority's own, not a host's";
    let unknown = "its certificate is signed by an unknown authority";
    let rows = [
        (Made::version_1("-newkey rsa:2048"), old),
        (Made::version_1("-newkey rsa:1024"), weak),
        (Made::version_1("-newkey ed25519"), old),
        (Made::version_3("-newkey rsa:2048 -sha1"), authority),
        (Made::version_3("-newkey rsa:1024 -sha1"), weak),
        (Made::version_3("-newkey rsa:2048 -addext basicConstraints=critical,CA:false"), unknown),
    ];
    for (made, why) in rows {
        for version in ["-tls1_2", "-tls1_3"] {
            let flags = format!("{version} {LAX}");
            assert_eq!(made.identity(&flags, &Demand::Opportunistic).await, unverified(why), "{version}");
            assert_eq!(made.identity(&flags, &Demand::Verified).await, Err(why.into()), "{version}");
        }
    }
}

#[tokio::test]
async fn dane_ee_asks_nothing_of_a_certificate_but_a_key_that_can_be_checked() {
    let fine = || Ok(Identity::Dane("3 1 1".into()));
    let weak = "its certificate has an RSA key of 1024 bits; 2048 to 8192 can be checked";
    for (made, expected) in [
        (Made::version_1("-newkey rsa:2048"), fine()),
        (Made::version_1("-newkey ed25519"), fine()),
        (Made::version_3("-newkey rsa:2048 -set_serial -5"), fine()),
        (Made::version_1("-newkey rsa:1024"), Err(weak.into())),
    ] {
        let demand = Demand::Dane(vec![pki::record(3, 1, 1, &made.certificate())]);
        for version in ["-tls1_2", "-tls1_3"] {
            assert_eq!(made.identity(&format!("{version} {LAX}"), &demand).await, expected, "{version}");
        }
    }
}

#[test]
fn keys_are_told_apart_whose_signatures_nobody_can_check() {
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
    let rows = [
        ("rsa:1024", Some("its certificate has an RSA key of 1024 bits; 2048 to 8192 can be checked")),
        ("rsa:2048", None),
        ("rsa:2049", None),
        ("ec -pkeyopt ec_paramgen_curve:P-521", None),
        (
            "ec -pkeyopt ec_paramgen_curve:secp256k1",
            Some("its certificate has a key of a kind that we cannot check"),
        ),
        ("ed448", Some("its certificate has a key of a kind that we cannot check")),
        ("rsa-pss", Some("its certificate has a key of a kind that we cannot check")),
    ];
    for (key, why) in rows {
        let certificate = Made::version_3(&format!("-newkey {key}")).certificate();
        assert_eq!(signature::uncheckable(&certificate, &algorithms).as_deref(), why, "{key}");
    }
    let garbage = CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]);
    let why = signature::uncheckable(&garbage, &algorithms);
    assert_eq!(why.as_deref(), Some("its certificate cannot be read"));
}
