//! Back-pressure, both ways and beside one another.

use std::sync::atomic::Ordering::SeqCst;

use futures_util::StreamExt;
use grpc_balance::connect::http2::Http2Config;

use crate::{
    MEGA, assert_clean, builder, channel, endless, of, patiently, ready, replies, standstill,
    support::{
        greeter::Greeter,
        pb::echo::{EchoReply, echo_client::EchoClient},
    },
};

/// A caller that does not read stops the server, which stops the caller's sending: 16 KiB messages, and windows of
/// 64 KiB down and the server's own up.
#[tokio::test]
async fn a_conversation_pushes_back_both_ways() {
    let server = Greeter::start("a").await;
    let windows = Http2Config::new().stream_window(65_535).connection_window(MEGA as u32);
    let channel = ready(builder(&server).http2(windows)).await;
    let (taken, requests) = endless(16 * 1024);
    let mut replies =
        patiently(EchoClient::new(channel.clone()).chat(requests)).await.expect("headers").into_inner();
    let ahead = standstill(&taken).await;
    assert!(ahead * 16 * 1024 < 8 * MEGA as u64, "{ahead} messages ahead of a reader that reads none");
    for _ in 0..2 * ahead {
        patiently(replies.message()).await.expect("a reply").expect("a reply");
    }
    assert!(taken.load(SeqCst) > ahead, "reading lets the sender go on");
    drop(replies);
    assert_clean(&channel, &server).await;
}

/// Streams that nobody reads, each with more to say than its window holds, beside a thousand busy calls.
async fn a_reader_that_never_reads(message: u32) {
    let server = Greeter::start("a").await;
    let channel = channel(&server).await;
    let mut client = EchoClient::new(channel.clone());
    let mut unread = Vec::new();
    for _ in 0..4 {
        unread.push(patiently(client.download(replies(u32::MAX, message))).await.expect("headers"));
    }
    for _ in 0..20 {
        let mut busy = patiently(client.download(replies(500, message))).await.expect("headers").into_inner();
        for _ in 0..500 {
            patiently(busy.message()).await.expect("a reply").expect("a reply");
        }
        assert!(patiently(busy.message()).await.expect("a good end").is_none());
    }
    for _ in 0..300 {
        patiently(client.unary(of(b"unary"))).await.expect("it is served");
    }
    assert_eq!((server.accepted(), server.open_connections()), (1, 1), "all on one connection");
    assert_eq!(channel.stats().endpoints[0].in_flight, 4, "the unread streams are still open");
    drop(unread);
    assert_clean(&channel, &server).await;
}

#[tokio::test]
async fn a_reader_that_never_reads_large_messages_holds_nobody_up() {
    a_reader_that_never_reads(16 * 1024).await;
}

#[tokio::test]
async fn a_reader_that_never_reads_ten_byte_messages_holds_nobody_up() {
    a_reader_that_never_reads(10).await;
}

/// 100 messages of 1 MiB up and down at once, the sender never more than 8 of them ahead: our windows (1 MiB a
/// stream), the server's (1 MiB), the buffers of both, and the sockets'.
#[tokio::test]
async fn a_hundred_megabytes_pass_in_bounded_memory() {
    let server = Greeter::start("a").await;
    let channel = channel(&server).await;
    let (taken, requests) = endless(MEGA);
    let mut replies = patiently(EchoClient::new(channel.clone()).chat(requests.take(100)))
        .await
        .expect("headers")
        .into_inner();
    let (mut read, mut furthest) = (0, 0);
    while let Some(EchoReply { payload, .. }) = patiently(replies.message()).await.expect("a reply") {
        assert_eq!(payload.len(), MEGA);
        read += 1;
        furthest = furthest.max(taken.load(SeqCst) - read);
        // The sender gets every chance to run ahead.
        if read % 10 == 0 {
            standstill(&taken).await;
            furthest = furthest.max(taken.load(SeqCst) - read);
        }
    }
    assert_eq!(read, 100);
    assert!(furthest <= 8, "the sender was {furthest} MiB ahead");
    println!("the sender was at most {furthest} MiB ahead");
    assert_clean(&channel, &server).await;
}
