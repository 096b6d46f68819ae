//! TLS to real sockets.
#![cfg(feature = "tls")]
#![expect(clippy::unwrap_used, reason = "so a test fails")]

mod channel;
mod config;
mod connector;
mod mutual;
mod peer;

use std::time::Duration;

use grpc_balance::connect::tls::Version;
use rcgen::date_time_ymd;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::peer::{Ca, Peer, told, works};

#[tokio::test]
async fn a_trusted_server_with_the_right_name_is_served() {
    let ca = Ca::new();
    let mut server = Peer::new(&ca.issue(&["greeter.test"])).serve().await;
    let mut stream = server.connect(&ca.trusted().build().unwrap(), "greeter.test").await.unwrap();
    works(&mut stream).await.unwrap();
    let client = server.clients.recv().await.unwrap();
    assert_eq!(client.sni.as_deref(), Some("greeter.test"));
    assert!(client.certificate.is_none());
}

#[tokio::test]
async fn ip_addresses_are_verified_as_addresses() {
    let ca = Ca::new();
    let mut server = Peer::new(&ca.issue(&["127.0.0.1", "::1"])).serve().await;
    let config = ca.trusted().build().unwrap();
    for host in ["127.0.0.1", "[::1]", "::1"] {
        works(&mut server.connect(&config, host).await.unwrap()).await.unwrap();
        assert_eq!(server.clients.recv().await.unwrap().sni, None);
    }
    let error = server.connect(&config, "127.0.0.2").await.unwrap_err();
    assert!(error.is_server_certificate(), "{}", told(&error));
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let ca = Ca::new();
    let server = Peer::new(&ca.issue(&["other.test"])).serve().await;
    let error = server.connect(&ca.trusted().build().unwrap(), "greeter.test").await.unwrap_err();
    assert!(error.is_server_certificate());
    let told = told(&error);
    assert!(told.contains("`greeter.test`") && told.contains("other.test"), "{told}");
}

#[tokio::test]
async fn a_pinned_name_takes_the_place_of_the_authoritys() {
    let ca = Ca::new();
    let mut server = Peer::new(&ca.issue(&["pinned.test"])).serve().await;
    let config = ca.trusted().server_name("pinned.test").build().unwrap();
    works(&mut server.connect(&config, "greeter.test").await.unwrap()).await.unwrap();
    assert_eq!(server.clients.recv().await.unwrap().sni.as_deref(), Some("pinned.test"));
}

#[tokio::test]
async fn an_untrusted_root_is_refused() {
    let server = Peer::new(&Ca::new().issue(&["greeter.test"])).serve().await;
    let config = Ca::new().trusted().build().unwrap();
    let error = server.connect(&config, "greeter.test").await.unwrap_err();
    assert!(error.is_server_certificate(), "{}", told(&error));
}

#[tokio::test]
async fn an_expired_certificate_is_refused_and_said_to_be_expired() {
    let ca = Ca::new();
    let issued = ca.issue_with(&["greeter.test"], |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 2);
    });
    let server = Peer::new(&issued).serve().await;
    let error = server.connect(&ca.trusted().build().unwrap(), "greeter.test").await.unwrap_err();
    assert!(error.is_server_certificate());
    assert!(told(&error).contains("expired"), "{}", told(&error));
}

#[tokio::test]
async fn a_server_that_does_not_select_h2_is_refused_clearly() {
    let ca = Ca::new();
    let issued = ca.issue(&["greeter.test"]);
    let config = ca.trusted().build().unwrap();
    for alpn in [&[][..], &["http/1.1"]] {
        let server = Peer { alpn, ..Peer::new(&issued) }.serve().await;
        let error = server.connect(&config, "greeter.test").await.unwrap_err();
        assert!(error.is_alpn(), "{}", told(&error));
        assert!(error.to_string().contains("expected ALPN `h2`"), "{error}");
    }
}

#[tokio::test]
async fn an_older_version_than_the_minimum_is_refused() {
    let ca = Ca::new();
    let issued = ca.issue(&["greeter.test"]);
    let server = Peer { versions: &[&rustls::version::TLS12], ..Peer::new(&issued) }.serve().await;
    works(&mut server.connect(&ca.trusted().build().unwrap(), "greeter.test").await.unwrap()).await.unwrap();
    let newer = ca.trusted().min_version(Version::Tls13).build().unwrap();
    let error = server.connect(&newer, "greeter.test").await.unwrap_err();
    assert!(error.to_string().contains("TLS version"), "{}", told(&error));
}

#[tokio::test]
async fn a_plaintext_server_is_recognised_and_gets_nothing_but_a_client_hello() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        // An empty SETTINGS frame, with which an HTTP/2 server begins.
        socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        let mut got = Vec::new();
        let _ = socket.read_to_end(&mut got).await;
        got
    });
    let config = Ca::new().trusted().build().unwrap();
    let socket = TcpStream::connect(address).await.unwrap();
    let error = config.handshake(socket, "greeter.test").await.unwrap_err();
    assert!(error.is_not_tls(), "{}", told(&error));
    assert!(error.to_string().contains("plaintext"), "{error}");
    let got = server.await.unwrap();
    assert_eq!(got[..2], [22, 3], "a TLS handshake record");
    assert!(!got.windows(3).any(|window| window == b"PRI"), "no plaintext HTTP/2 preface");
}

#[tokio::test]
async fn a_server_that_never_answers_is_left_to_the_callers_time_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut silent, _) = listener.accept().await.unwrap();
    let config = Ca::new().trusted().build().unwrap();
    let handshake = config.handshake(socket, "greeter.test");
    assert!(tokio::time::timeout(Duration::from_millis(50), handshake).await.is_err());
    let mut hello = Vec::new();
    silent.read_to_end(&mut hello).await.unwrap();
    assert!(!hello.is_empty(), "the socket was closed with the future");
}

#[tokio::test]
async fn a_server_that_closes_in_the_handshake_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut hello = [0; 1024];
        let _ = socket.read(&mut hello).await;
    });
    let error = Ca::new().trusted().build().unwrap().handshake(socket, "greeter.test").await.unwrap_err();
    assert!(error.to_string().contains("`greeter.test`"), "{}", told(&error));
}
