//! Peers that do not go on.

use std::time::Duration;

use grpc_balance::server::Http2Config;
use tokio::io::AsyncWriteExt;

use crate::support::{
    Client, Running, http1_works,
    raw::{self, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, Peer, SETTINGS, frame},
    to_end, until,
};

const SHORT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_peer_that_stays_silent_is_closed() {
    let server = Running::new(|server| server.preface_timeout(SHORT));
    assert_eq!(to_end(server.dial().await).await, "");
    let mut half = server.dial().await;
    half.write_all(b"PRI * HTTP/2.0").await.unwrap();
    assert_eq!(to_end(half).await, "");
    server.counts(|stats| stats.preface_timeouts == 2 && stats.active == 0).await;
    let mut speaks = server.dial().await;
    http1_works(&mut speaks).await;
    tokio::time::sleep(SHORT * 3).await;
    http1_works(&mut speaks).await;
}

#[tokio::test]
async fn a_slow_head_is_closed_on_http_1_and_an_idle_connection_is_not() {
    let server = Running::new(|server| server.header_timeout(SHORT * 3));
    let mut slow = server.dial().await;
    let (mut read, mut write) = slow.split();
    let trickle = async {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(SHORT / 4).await;
        }
    };
    tokio::select! {
        answer = to_end(&mut read) => assert_eq!(answer, ""),
        () = trickle => {}
    }
    server.counts(|stats| stats.header_timeouts == 1).await;

    let mut idle = server.dial().await;
    http1_works(&mut idle).await;
    tokio::time::sleep(SHORT * 6).await;
    http1_works(&mut idle).await;
    // The second head counts as well as the first.
    idle.write_all(b"GET / HT").await.unwrap();
    assert_eq!(to_end(idle).await, "");
    server.counts(|stats| stats.header_timeouts == 2 && stats.active == 0).await;
}

#[tokio::test]
async fn a_slow_body_is_left_alone() {
    let server = Running::new(|server| server.header_timeout(SHORT));
    let mut slow = server.dial().await;
    slow.write_all(b"POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\n").await.unwrap();
    for byte in ["1", "2", "3", "4"] {
        tokio::time::sleep(SHORT).await;
        slow.write_all(byte.as_bytes()).await.unwrap();
    }
    assert!(until(&mut slow, "0\r\n\r\n").await.starts_with("HTTP/1.1 200 OK"));

    let mut peer = Peer::greet(server.dial().await).await;
    peer.write(&frame(HEADERS, END_HEADERS, 1, &raw::get("/echo"))).await.unwrap();
    let data = frame(raw::DATA, END_STREAM, 1, b"4321");
    peer.write(&data[..11]).await.unwrap();
    tokio::time::sleep(SHORT * 3).await;
    peer.write(&data[11..]).await.unwrap();
    let mut echo = Vec::new();
    while echo.len() < 4 {
        echo.extend(peer.expect(raw::DATA).await.payload);
    }
    assert_eq!(echo, b"4321");
}

#[tokio::test]
async fn a_slow_head_is_closed_on_http_2() {
    let server = Running::new(|server| server.header_timeout(SHORT));
    let mut unfinished = Peer::greet(server.dial().await).await;
    unfinished.write(&frame(HEADERS, END_STREAM, 1, GET)).await.unwrap();
    unfinished.closed().await;

    let mut silent = server.dial().await;
    silent.write_all(raw::PREFACE).await.unwrap();
    Peer(silent).closed().await;
    server.counts(|stats| stats.header_timeouts == 2 && stats.active == 0).await;

    let idle = server.http2().await;
    idle.works().await;
    tokio::time::sleep(SHORT * 3).await;
    idle.works().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let server = Running::new(|server| server.idle_timeout(SHORT * 4));
    let busy = server.http2().await;
    let stream = busy.get("/forever").await.unwrap();
    let mut http1 = server.dial().await;
    http1_works(&mut http1).await;
    assert_eq!(to_end(http1).await, "");
    let mut http2 = Peer::greet(server.dial().await).await;
    assert_eq!(http2.expect(GOAWAY).await.payload[4..8], [0, 0, 0, 0], "NO_ERROR");
    server.counts(|stats| stats.idle_timeouts == 2).await;
    busy.works().await;
    drop(stream);
    server.counts(|stats| stats.idle_timeouts == 3).await;
    busy.closed().await.unwrap();
}

#[tokio::test]
async fn a_peer_that_does_not_answer_pings_is_closed() {
    let http2 = Http2Config::new().keepalive(SHORT, SHORT * 5);
    let server = Running::new(|server| server.http2(http2));
    let alive = Client::new(server.dial().await).await;
    let stream = alive.get("/forever").await.unwrap();
    let mut dead = Peer::greet(server.dial().await).await;
    dead.expect(SETTINGS).await;
    dead.expect(raw::PING).await;
    dead.closed().await;
    server.counts(|stats| stats.active == 1).await;
    alive.works().await;
    drop(stream);
}
