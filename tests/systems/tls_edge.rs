//! TLS ends here.

use std::{io, path::PathBuf, sync::Arc};

use rcgen::{CertificateParams, KeyPair};
use rustls::{
    DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    HELLO,
    program::Program,
    support::greeter::Greeter,
    until,
    wire::{self, Http2},
};

/// Looks at certificates, and believes them all.
#[derive(Debug)]
pub(crate) struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A TLS connection that offers these protocols and versions.
pub(crate) async fn dial(
    proxy: &Program,
    alpn: &[&str],
    versions: &[&'static SupportedProtocolVersion],
) -> io::Result<TlsStream<TcpStream>> {
    dial_with(proxy, ring::default_provider(), alpn, versions).await
}

async fn dial_with(
    proxy: &Program,
    provider: CryptoProvider,
    alpn: &[&str],
    versions: &[&'static SupportedProtocolVersion],
) -> io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(provider);
    let mut config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .expect("there are suites")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous(provider)))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let socket = TcpStream::connect(proxy.address()).await.expect("it listens");
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, socket).await
}

/// A directory of this test's own.
fn directory(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("grpc-balance-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    directory
}

/// A certificate as a secret holds it, and its DER.
fn write_pair(directory: &std::path::Path) -> CertificateDer<'static> {
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(["localhost".to_owned()]).expect("a name").self_signed(&key);
    let certificate = certificate.expect("a certificate");
    std::fs::write(directory.join("tls.key"), key.serialize_pem()).expect("written");
    std::fs::write(directory.join("tls.crt"), certificate.pem()).expect("written");
    certificate.der().clone()
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().expect("a certificate")[0].clone().into_owned()
}

#[tokio::test]
async fn both_protocols_are_offered_and_spoken_over_tls() {
    let backend = Greeter::start("a").await;
    let proxy = Program::start("tls_edge", &["--upstream", &backend.address().to_string()]).await;
    for (what, alpn, selected) in
        [("h2", &["h2", "http/1.1"][..], Some(&b"h2"[..])), ("no ALPN, but HTTP/2's preface", &[], None)]
    {
        let stream = dial(&proxy, alpn, rustls::ALL_VERSIONS).await.expect(what);
        assert_eq!(stream.get_ref().1.alpn_protocol(), selected, "{what}");
        let seen = Http2::over(stream).await.expect(what).call(HELLO).await;
        assert_eq!(seen.header("content-type"), Some("application/grpc"), "{what}");
    }
    let stream = dial(&proxy, &["http/1.1"], rustls::ALL_VERSIONS).await.expect("http/1.1");
    let answer = wire::text(stream, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");

    let plaintext = TcpStream::connect(proxy.address()).await.expect("it listens");
    let answer = wire::text(plaintext, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(!answer.contains("HTTP"), "plaintext is closed: {answer}");
}

#[tokio::test]
async fn a_replaced_certificate_is_shown_to_new_connections_and_a_broken_one_is_not() {
    let directory = directory("rotation");
    let (cert, key) = (directory.join("tls.crt"), directory.join("tls.key"));
    let first = write_pair(&directory);
    let backend = Greeter::start("a").await;
    let upstream = backend.address().to_string();
    let args = ["--upstream", &upstream, "--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let proxy = Program::start("tls_edge", &args).await;
    let old = dial(&proxy, &["h2"], rustls::ALL_VERSIONS).await.expect("TLS");
    assert_eq!(shown(&old), first);
    let old = Http2::over(old).await.expect("HTTP/2");

    let second = write_pair(&directory);
    until("the new certificate is shown", async || {
        shown(&dial(&proxy, &["h2"], rustls::ALL_VERSIONS).await.expect("TLS")) == second
    })
    .await;
    std::fs::write(&cert, "no certificate").expect("written");
    // Longer than the second for which the files are believed.
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    assert_eq!(shown(&dial(&proxy, &["h2"], rustls::ALL_VERSIONS).await.expect("TLS")), second);
    assert_eq!(old.call(HELLO).await.status(), 200, "the old connection goes on");
    std::fs::remove_dir_all(directory).expect("removed");
}

#[tokio::test]
async fn of_tls_1_2_only_the_two_suites_are_accepted_and_tls_1_3_is_as_it_is() {
    use rustls::version::{TLS12, TLS13};

    let directory = directory("suites");
    let (cert, key) = (directory.join("tls.crt"), directory.join("tls.key"));
    let pair = KeyPair::from_pem(include_str!("rsa.pem")).expect("an RSA key");
    let certificate = CertificateParams::new(["localhost".to_owned()]).expect("a name").self_signed(&pair);
    std::fs::write(&cert, certificate.expect("a certificate").pem()).expect("written");
    std::fs::write(&key, include_str!("rsa.pem")).expect("written");

    let backend = Greeter::start("a").await;
    let upstream = backend.address().to_string();
    let args = ["--upstream", &upstream, "--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let proxy = Program::start("tls_edge", &args).await;
    for suite in ring::default_provider().cipher_suites {
        let name = format!("{:?}", suite.suite());
        let is_1_3 = suite.tls13().is_some();
        let wanted = is_1_3
            || ["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]
                .contains(&&*name);
        let provider = CryptoProvider { cipher_suites: vec![suite], ..ring::default_provider() };
        let version = if is_1_3 { &TLS13 } else { &TLS12 };
        let accepted = dial_with(&proxy, provider, &["h2"], &[version]).await.is_ok();
        assert_eq!(accepted, wanted, "{name}");
    }
    std::fs::remove_dir_all(directory).expect("removed");
}

#[tokio::test]
async fn the_proxy_protocol_is_understood_when_it_is_asked_for() {
    let backend = Greeter::start("a").await;
    let args = ["--upstream", &backend.address().to_string(), "--proxy-protocol"];
    let proxy = Program::start("load_balancer", &args).await;
    let header = "PROXY TCP4 192.0.2.7 10.0.0.1 1234 443\r\n";
    for (what, first, answers) in [("with the header", header, true), ("without", "", false)] {
        let socket = TcpStream::connect(proxy.address()).await.expect("it listens");
        let answer =
            wire::text(socket, &format!("{first}GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"))
                .await;
        assert_eq!(answer.starts_with("HTTP/1.1 "), answers, "{what}: {answer}");
    }
}
