//! TLS on the listening side.

mod authority;
mod clients;
mod rotation;

use std::{sync::Arc, time::Duration};

use grpc_balance::{
    connect::tls::{Identity, Version},
    server::tls::{Builder, ServerConfig},
};
use rustls_pki_types::ServerName;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

use self::authority::{Authority, Issued};
use crate::support::{Client, Running, http1_works, to_end};

const SHORT: Duration = Duration::from_millis(500);

fn secured(builder: Builder) -> Running {
    let tls = builder.build().unwrap();
    Running::new(|server| server.tls(tls))
}

#[tokio::test]
async fn one_port_may_serve_tls_and_plaintext_when_it_is_asked_to() {
    let authority = Authority::new();
    let issued = authority.issue(&["api.test"]);
    let tls = ServerConfig::builder().identity(issued.identity()).build().unwrap();
    let server = Running::new(|server| server.tls_or_plaintext(tls).preface_timeout(SHORT));
    let mut secure = Dialler::new(&authority).alpn(&["http/1.1"]).dial(&server, "api.test").await.unwrap();
    http1_works(&mut secure).await;
    http1_works(&mut server.dial().await).await;
    server.http2().await.works().await;
    // Who says nothing is waited for no longer than anywhere else.
    assert_eq!(to_end(server.dial().await).await, "");
    server.counts(|stats| stats.preface_timeouts == 1).await;
}

/// A client of the authority's, to be adjusted.
struct Dialler {
    config: rustls::ClientConfig,
}

impl Dialler {
    fn new(authority: &Authority) -> Self {
        Self::speaking(authority, rustls::ALL_VERSIONS, None)
    }

    fn speaking(
        authority: &Authority,
        versions: &[&'static rustls::SupportedProtocolVersion],
        shows: Option<&Issued>,
    ) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(authority.roots());
        let config = match shows {
            None => config.with_no_client_auth(),
            Some(issued) => config.with_client_auth_cert(vec![issued.der()], issued.private_key()).unwrap(),
        };
        Self { config }
    }

    fn alpn(mut self, protocols: &[&str]) -> Self {
        self.config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        self
    }

    async fn dial(&self, server: &Running, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(Arc::new(self.config.clone())).connect(name, server.dial().await).await
    }
}

/// The certificate that a server showed.
fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn both_protocols_work_with_alpn_and_without() {
    let authority = Authority::new();
    let server = secured(ServerConfig::builder().identity(authority.issue(&["greeter.test"]).identity()));
    for (alpn, selected) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["h2"], Some(b"h2")),
        (&[], None),
        (&["http/1.1"], Some(b"http/1.1")),
    ] {
        let stream = Dialler::new(&authority).alpn(alpn).dial(&server, "greeter.test").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), selected);
        if selected != Some(b"http/1.1") {
            Client::new(stream).await.works().await;
        }
    }
    for alpn in [&["http/1.1"][..], &[]] {
        let mut stream = Dialler::new(&authority).alpn(alpn).dial(&server, "greeter.test").await.unwrap();
        http1_works(&mut stream).await;
    }
}

#[tokio::test]
async fn who_speaks_another_protocol_than_agreed_is_closed() {
    let authority = Authority::new();
    let server = secured(ServerConfig::builder().identity(authority.issue(&["greeter.test"]).identity()));
    for (agreed, said) in
        [("h2", &b"GET / HTTP/1.1\r\nhost: test\r\n\r\n"[..]), ("http/1.1", crate::support::raw::PREFACE)]
    {
        let mut stream =
            Dialler::new(&authority).alpn(&[agreed]).dial(&server, "greeter.test").await.unwrap();
        stream.write_all(said).await.unwrap();
        assert_eq!(to_end(stream).await, "");
    }
    server.counts(|stats| stats.protocol_mismatches == 2).await;
}

#[tokio::test]
async fn each_name_gets_its_own_certificate_and_the_rest_the_default() {
    let authority = Authority::new();
    let [fallback, exact, wildcard] =
        [&["fallback.test"], &["a.example.test"], &["*.example.test"]].map(|names| authority.issue(names));
    let server = secured(
        ServerConfig::builder()
            .identity(fallback.identity())
            .identity_for("A.example.test", exact.identity())
            .identity_for("*.example.test", wildcard.identity()),
    );
    let dialler = Dialler::new(&authority);
    for (name, issued) in [
        ("fallback.test", &fallback),
        ("a.example.test", &exact),
        ("b.example.test", &wildcard),
        ("B.Example.test", &wildcard),
    ] {
        assert_eq!(shown(&dialler.dial(&server, name).await.unwrap()), *issued.der(), "{name}");
    }
    // One label, and not two; the default is not for this name, which is for the client to notice.
    assert!(dialler.dial(&server, "a.b.example.test").await.is_err());

    let strict = secured(ServerConfig::builder().identity_for("a.example.test", exact.identity()));
    dialler.dial(&strict, "a.example.test").await.unwrap();
    assert!(dialler.dial(&strict, "fallback.test").await.is_err());
    strict.counts(|stats| stats.tls_failures == 1).await;
}

#[tokio::test]
async fn versions_and_suites_can_be_restricted() {
    use rustls::version::{TLS12, TLS13};

    let authority = Authority::new();
    let identity = || authority.issue(&["greeter.test"]).identity();
    let old = Dialler::speaking(&authority, &[&TLS12], None);
    let new = Dialler::speaking(&authority, &[&TLS13], None);

    let server = secured(ServerConfig::builder().identity(identity()).min_version(Version::Tls13));
    assert!(old.dial(&server, "greeter.test").await.is_err());
    new.dial(&server, "greeter.test").await.unwrap();

    let only = "ECDHE-ECDSA-AES128-GCM-SHA256";
    let server = secured(ServerConfig::builder().identity(identity()).tls12_cipher_suites([only]));
    let stream = old.dial(&server, "greeter.test").await.unwrap();
    let suite = stream.get_ref().1.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite.as_str(), Some("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"));
    new.dial(&server, "greeter.test").await.unwrap();
}

#[tokio::test]
async fn who_does_not_finish_the_handshake_is_closed_and_plaintext_gets_no_answer() {
    let authority = Authority::new();
    let tls =
        ServerConfig::builder().identity(authority.issue(&["greeter.test"]).identity()).build().unwrap();
    let server = Running::new(|server| server.tls(tls).tls_handshake_timeout(SHORT).preface_timeout(SHORT));
    assert_eq!(to_end(server.dial().await).await, "");
    server.counts(|stats| stats.tls_timeouts == 1).await;

    let mut plain = server.dial().await;
    plain.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    assert!(!to_end(plain).await.contains("HTTP"));
    server.counts(|stats| stats.tls_failures == 1).await;

    let silent = Dialler::new(&authority).dial(&server, "greeter.test").await.unwrap();
    assert_eq!(to_end(silent).await, "");
    server.counts(|stats| stats.preface_timeouts == 1 && stats.active == 0).await;
}

#[test]
fn a_configuration_that_cannot_work_says_why() {
    let authority = Authority::new();
    let issued = authority.issue(&["greeter.test"]);
    let other = authority.issue(&["greeter.test"]);
    let identity = || issued.identity();
    let cases: [(Builder, &str); 8] = [
        (ServerConfig::builder(), "needs a certificate"),
        (
            ServerConfig::builder().identity(Identity::pem(&*issued.certificate, &*other.key)),
            "is not the private key",
        ),
        (
            ServerConfig::builder().identity(Identity::files("/nonexistent/tls.crt", "/x")),
            "`/nonexistent/tls.crt`",
        ),
        (ServerConfig::builder().identity_for("not a name", identity()), "`not a name`"),
        (
            ServerConfig::builder().identity_for("a.test", identity()).identity_for("A.test", identity()),
            "two certificates",
        ),
        (ServerConfig::builder().identity(identity()).tls12_cipher_suites(["RC4-MD5"]), "`RC4-MD5`"),
        (
            ServerConfig::builder().identity(identity()).client_roots_pem("no PEM"),
            "has no `CERTIFICATE` section",
        ),
        (ServerConfig::builder().identity(identity()).optional_client_certificates(), "no roots"),
    ];
    for (builder, expected) in cases {
        let error = builder.build().unwrap_err();
        assert!(error.is_config() && error.to_string().contains(expected), "{expected}: {error}");
    }
}
