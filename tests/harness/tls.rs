//! Clients of our doors under TLS: rustls on a wire, openssl's, and a ClientHello made by hand for what neither of them speaks
//! any more.

use super::PATIENCE;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// A stream under TLS.
pub type Private = StreamOwned<ClientConnection, TcpStream>;

/// Performs the handshake and takes whatever certificate is shown.
pub fn handshake(stream: TcpStream, name: &str) -> io::Result<Private> {
    let mut private = unfinished(stream, name);
    while private.conn.is_handshaking() {
        private.conn.complete_io(&mut private.sock)?;
    }
    Ok(private)
}

/// The same, before the first octet.
pub fn unfinished(stream: TcpStream, name: &str) -> Private {
    let provider = Arc::new(default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream)
}

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What `openssl s_client` says, and whether it got through. It leaves with QUIT, so that it hears whatever comes before
/// the end.
pub fn s_client(to: SocketAddr, arguments: &[&str]) -> (bool, String) {
    s_client_says(to, arguments, "QUIT\n", true)
}

/// The same with other input; `to_the_end`: it does not take lines as commands, and waits for the server to close.
pub fn s_client_says(to: SocketAddr, arguments: &[&str], input: &str, to_the_end: bool) -> (bool, String) {
    let mut command = Command::new("timeout");
    command.args(["20", "openssl", "s_client", "-connect", &to.to_string(), "-crlf"]).args(arguments);
    if to_the_end {
        command.arg("-ign_eof");
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Who is refused may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    assert_ne!(output.status.code(), Some(124), "{arguments:?}: it never ended");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said.into_owned())
}

/// What a server made of a ClientHello.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// A ServerHello with this version and suite.
    Hello(u16, u16),
    /// An alert (RFC 8446 section 6).
    Alert(u8),
    /// The end.
    End,
}

/// PROTOCOL_VERSION and HANDSHAKE_FAILURE.
pub const VERSION: Answer = Answer::Alert(70);
pub const FAILURE: Answer = Answer::Alert(40);

/// Sends a ClientHello of this version that offers these suites, and reads what comes. With 0x0304 the version stands in its
/// extension, and the share of a key is left for the server to ask for.
pub fn hello(mut stream: TcpStream, version: u16, suites: &[u16]) -> Answer {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&client_hello(version, suites)).unwrap();
    answer(&mut stream).unwrap_or(Answer::End)
}

pub fn client_hello(version: u16, suites: &[u16]) -> Vec<u8> {
    let words = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let vector = |body: Vec<u8>| [(body.len() as u16).to_be_bytes().to_vec(), body].concat();
    let extension = |kind: u16, body: Vec<u8>| [kind.to_be_bytes().to_vec(), vector(body)].concat();
    let mut extensions = Vec::new();
    if version >= 0x0301 {
        extensions.extend(extension(10, vector(words(&[0x001d, 0x0017, 0x0018, 0x0100]))));
        extensions.extend(extension(11, vec![1, 0]));
    }
    if version >= 0x0303 {
        let schemes = [0x0403, 0x0503, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201];
        extensions.extend(extension(13, vector(words(&schemes))));
    }
    if version == 0x0304 {
        extensions.extend(extension(43, [vec![2], words(&[0x0304])].concat()));
        extensions.extend(extension(51, vec![0, 0]));
    }
    let mut body = words(&[version.min(0x0303)]);
    body.extend([7; 32]);
    body.push(0);
    body.extend(vector(words(suites)));
    // No compression, and an old one.
    body.extend([2, 0, 1]);
    if version >= 0x0304 {
        let at = body.len() - 3;
        body.splice(at.., [1, 0]);
    }
    if !extensions.is_empty() {
        body.extend(vector(extensions));
    }
    let length = (body.len() as u32).to_be_bytes();
    let message = [vec![1], length[1..].to_vec(), body].concat();
    [vec![22, 3, 0], vector(message)].concat()
}

fn answer(stream: &mut TcpStream) -> io::Result<Answer> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let mut body = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    stream.read_exact(&mut body)?;
    if head[0] != 22 {
        assert_eq!(head[0], 21, "neither a handshake nor an alert: {head:?}");
        return Ok(Answer::Alert(body[1]));
    }
    assert_eq!(body[0], 2, "no ServerHello");
    let word = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    let session = usize::from(body[38]);
    assert_eq!(body[39 + session + 2], 0, "it compresses");
    Ok(Answer::Hello(word(4), word(39 + session)))
}
