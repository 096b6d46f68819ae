//! Client certificates.

use grpc_balance::server::tls::ServerConfig;
use tokio::io::AsyncWriteExt;

use super::{Authority, Dialler, secured};
use crate::support::{Client, to_end};

#[tokio::test]
async fn a_required_client_certificate_lets_in_and_is_shown_to_the_service() {
    let authority = Authority::new();
    let server = secured(
        ServerConfig::builder()
            .identity(authority.issue(&["greeter.test"]).identity())
            .client_roots_pem(authority.pem()),
    );
    let issued = authority.issue(&["client.test"]);
    let dialler = Dialler::speaking(&authority, rustls::ALL_VERSIONS, Some(&issued)).alpn(&["h2"]);
    let client = Client::new(dialler.dial(&server, "greeter.test").await.unwrap()).await;
    let (_, text) = client.text("/info").await.unwrap();
    let der: Vec<_> = issued.der().iter().map(ToString::to_string).collect();
    for part in ["server_name: Some(\"greeter.test\")", "alpn: Some([104, 50])", &der.join(", ")] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn without_a_good_certificate_nobody_is_let_in_where_it_is_required() {
    let authority = Authority::new();
    let server = secured(
        ServerConfig::builder()
            .identity(authority.issue(&["greeter.test"]).identity())
            .client_roots_pem(authority.pem()),
    );
    let foreign = Authority::new().issue(&["client.test"]);
    for (i, shows) in [None, Some(&foreign)].into_iter().enumerate() {
        let dialler = Dialler::speaking(&authority, rustls::ALL_VERSIONS, shows);
        // With TLS 1.3 the client learns of it only when it reads.
        if let Ok(mut stream) = dialler.dial(&server, "greeter.test").await {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
            assert_eq!(to_end(stream).await, "");
        }
        server.counts(|stats| stats.tls_failures == i as u64 + 1 && stats.http1 == 0).await;
    }
}

#[tokio::test]
async fn an_optional_certificate_may_be_missing_but_not_bad() {
    let authority = Authority::new();
    let server = secured(
        ServerConfig::builder()
            .identity(authority.issue(&["greeter.test"]).identity())
            .client_roots_pem(authority.pem())
            .optional_client_certificates(),
    );
    let good = authority.issue(&["client.test"]);
    for shows in [None, Some(&good)] {
        let dialler = Dialler::speaking(&authority, rustls::ALL_VERSIONS, shows).alpn(&["h2"]);
        Client::new(dialler.dial(&server, "greeter.test").await.unwrap()).await.works().await;
    }
    let foreign = Authority::new().issue(&["client.test"]);
    let dialler = Dialler::speaking(&authority, rustls::ALL_VERSIONS, Some(&foreign));
    if let Ok(stream) = dialler.dial(&server, "greeter.test").await {
        assert_eq!(to_end(stream).await, "");
    }
    server.counts(|stats| stats.tls_failures == 1).await;
}
