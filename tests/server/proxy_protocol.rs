//! Behind an L4 balancer that tells whom it speaks for.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use crate::support::{Client, Running, http1_works, say, to_end};

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn requests_tell_the_address_that_the_balancer_told_of() {
    let server = Running::new(|server| server.proxy_protocol(true));
    let mut http1 = server.dial().await;
    http1.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n").await.unwrap();
    let answer = say(http1, "GET /info HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.contains("192.0.2.7:4711") && answer.contains("192.0.2.1:443"), "{answer}");

    let mut http2 = server.dial().await;
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x08\xc0\0\x02\x01\0\x50\x01\xbb";
    http2.write_all(header).await.unwrap();
    let (_, said) = Client::new(http2).await.text("/info").await.unwrap();
    assert!(said.contains("192.0.2.8:80"), "{said}");
}

#[tokio::test]
async fn who_sends_no_header_is_closed_and_counted_and_who_sends_half_is_not_waited_for() {
    let server = Running::new(|server| server.proxy_protocol(true).preface_timeout(SHORT));
    let mut stranger = server.dial().await;
    stranger.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert_eq!(to_end(stranger).await, "");
    server.counts(|stats| stats.proxy_protocol_failures == 1).await;
    let mut slow = server.dial().await;
    slow.write_all(b"PROXY TCP4 ").await.unwrap();
    assert_eq!(to_end(slow).await, "");
    server.counts(|stats| stats.preface_timeouts == 1).await;
    // A check of the balancer's own.
    let mut own = server.dial().await;
    own.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
    http1_works(&mut own).await;
}
