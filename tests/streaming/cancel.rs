//! Calls given up or reset by the thousand, at every stage.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use tokio::task::yield_now;
use tonic::Code;

use crate::{
    assert_clean, channel, endless, of, patiently, replies,
    support::{
        greeter::{Action, Greeter},
        pb::echo::echo_client::EchoClient,
    },
};

#[tokio::test]
async fn thousands_of_calls_cancelled_before_their_headers_leave_nothing_behind() {
    let server = Greeter::builder("a").hook(hang_on_download).start().await;
    let channel = channel(&server).await;
    for round in 0..3000_u32 {
        let mut client = EchoClient::new(channel.clone());
        let mut call = Box::pin(client.download(replies(1, 1)));
        // Some are dropped before their first poll, some as they were sent, some as they hang at the server.
        for _ in 0..round % 4 {
            assert!(futures_util::poll!(&mut call).is_pending());
            yield_now().await;
        }
        drop(call);
    }
    let cancelled = channel.stats().outcomes.get(grpc_balance::grpc::Code::Cancelled);
    assert_eq!(cancelled, 2250, "all that were ever polled");
    assert_clean(&channel, &server).await;
}

fn hang_on_download(parts: &http::request::Parts) -> Action {
    if parts.uri.path().ends_with("Download") { Action::Hang } else { Action::Serve }
}

#[tokio::test]
async fn thousands_of_bodies_dropped_half_read_leave_nothing_behind() {
    let server = Greeter::start("a").await;
    let channel = channel(&server).await;
    for round in 0..1000_u32 {
        let mut client = EchoClient::new(channel.clone());
        let mut down = patiently(client.download(replies(1000, 100))).await.expect("headers").into_inner();
        let mut talk = patiently(client.chat(endless(100).1)).await.expect("headers").into_inner();
        for _ in 0..round % 3 {
            patiently(down.message()).await.expect("a reply").expect("a reply");
            patiently(talk.message()).await.expect("a reply").expect("a reply");
        }
        drop((down, talk));
    }
    assert_eq!(channel.stats().outcomes.get(grpc_balance::grpc::Code::Cancelled), 2000);
    assert_clean(&channel, &server).await;
    assert_eq!(server.accepted(), 1, "and the connection is the same");
}

#[tokio::test]
async fn thousands_of_resets_before_the_headers_leave_nothing_behind() {
    let turn = AtomicU32::new(0);
    let server = Greeter::builder("a")
        .hook(move |parts| match parts.uri.path().ends_with("Unary") {
            true => Action::Serve,
            false if turn.fetch_add(1, SeqCst).is_multiple_of(2) => Action::Reset(h2::Reason::CANCEL),
            false => Action::Reset(h2::Reason::INTERNAL_ERROR),
        })
        .start()
        .await;
    let channel = channel(&server).await;
    let mut codes = [0, 0];
    // A unary call between them: servers take too many resets in a row for an attack.
    for _ in 0..2000 {
        let mut client = EchoClient::new(channel.clone());
        let status = patiently(client.download(replies(1, 1))).await.expect_err("a reset");
        match status.code() {
            Code::Cancelled => codes[0] += 1,
            Code::Internal => codes[1] += 1,
            _ => panic!("{status}"),
        }
        patiently(client.unary(of(b""))).await.expect("it is served");
    }
    assert_eq!(codes, [1000, 1000]);
    assert_clean(&channel, &server).await;
}
