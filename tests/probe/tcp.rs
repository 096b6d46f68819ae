//! Checks by TCP.

use std::time::Duration;

use grpc_balance::{
    discover::Fixed,
    endpoint::{Address, Endpoint},
    probe::{Probe, Tcp},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::peers::{Probing, Server, nobody, until};

#[tokio::test]
async fn connecting_is_enough() {
    let server = Server::start(|_| async {}).await;
    let mut probing = Probing::of(server.address, Tcp::new());
    probing.says("passing").await;
    probing.quiet_until(until(|| server.accepted() >= 5)).await;
    drop(server);
    probing.says("failing: connect 127.0.0.1").await;
}

/// Speaks like a key-value store, in two pieces.
async fn store() -> Server {
    Server::start(|mut socket| async move {
        let mut asked = [0; 6];
        if socket.read_exact(&mut asked).await.is_ok() && &asked == b"PING\r\n" {
            let _ = socket.write_all(b"+PO").await;
            let _ = socket.flush().await;
            let _ = socket.write_all(b"NG\r\n").await;
        }
    })
    .await
}

#[tokio::test]
async fn bytes_are_sent_and_expected() {
    let server = store().await;
    Probing::of(server.address, Tcp::new().send("PING\r\n").expect("+PONG")).says("passing").await;
    Probing::of(server.address, Tcp::new().send("PING\r\n").expect("OK"))
        .says(r"failing: it says `+PONG\r\n` and closes, where `OK` is expected")
        .await;
}

#[tokio::test]
async fn a_peer_that_says_nothing_fails_after_the_timeout() {
    let server = Server::start(|socket| async move {
        let _open = socket;
        std::future::pending().await
    })
    .await;
    let probe = Probe::from(Tcp::new().expect("220")).timeout(Duration::from_millis(100));
    Probing::of(server.address, probe).says("failing: no answer within 100ms").await;
}

#[tokio::test]
async fn a_peer_that_never_stops_talking_fails() {
    let server =
        Server::start(|mut socket| async move { while socket.write_all(&[b'x'; 4096]).await.is_ok() {} })
            .await;
    Probing::of(server.address, Tcp::new().expect("220"))
        .says("failing: it says something else than `220`")
        .await;
}

#[tokio::test]
async fn any_address_of_an_endpoint_will_do() {
    let server = Server::start(|_| async {}).await;
    let addresses = [nobody().await, server.address].map(Address::from);
    let endpoint = Endpoint::with_addresses(addresses).unwrap();
    Probing::over(Fixed::new([endpoint]), Tcp::new()).says("passing").await;
}
