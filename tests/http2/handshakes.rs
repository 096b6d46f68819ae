//! When a connection counts as established.

use bytes::Bytes;
use futures_util::poll;
use grpc_balance::{connect::http2::Http2Config, error::Phase, grpc::Code};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{handshake, raw::Peer};

#[tokio::test]
async fn it_waits_for_the_peers_settings() {
    let (near, mut peer) = Peer::new();
    let mut handshake = Box::pin(handshake(near, &Http2Config::new()));
    for _ in 0..100 {
        assert!(poll!(&mut handshake).is_pending(), "an accepted connection alone is not enough");
        tokio::task::yield_now().await;
    }
    let (established, ()) = tokio::join!(handshake, peer.greet(None));
    established.unwrap();
}

#[tokio::test]
async fn giving_up_closes_the_connection() {
    let (near, mut peer) = Peer::new();
    let mut handshake = Box::pin(handshake(near, &Http2Config::new()));
    assert!(poll!(&mut handshake).is_pending());
    drop(handshake);
    peer.read_preface().await;
    let mut rest = Vec::new();
    peer.io.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_hangs_up_first_is_an_error_that_names_the_endpoint() {
    let (near, mut peer) = Peer::new();
    let hang_up = async {
        peer.read_preface().await;
        drop(peer);
    };
    let (established, ()) = tokio::join!(handshake(near, &Http2Config::new()), hang_up);
    let error = established.unwrap_err();
    assert_eq!((error.code(), error.phase()), (Code::Unavailable, Phase::Connect));
    assert_eq!(error.endpoint().unwrap().to_string(), "10.0.0.1:50051");
    assert!(error.is_safe_to_retry());
}

#[tokio::test]
async fn a_peer_that_speaks_http1_is_an_error() {
    let (near, mut peer) = Peer::new();
    let answer = async {
        peer.read_preface().await;
        let answer = Bytes::from("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
        peer.io.write_all(&answer).await.unwrap();
    };
    let (established, ()) = tokio::join!(handshake(near, &Http2Config::new()), answer);
    assert_eq!(established.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_peer_that_says_goaway_at_once_is_an_error() {
    let (near, mut peer) = Peer::new();
    let refuse = async {
        peer.read_preface().await;
        peer.go_away(0, 0, b"shutting down").await;
        peer
    };
    let (established, _peer) = tokio::join!(handshake(near, &Http2Config::new()), refuse);
    let error = established.unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("shutting down"), "{error:?}");
}
