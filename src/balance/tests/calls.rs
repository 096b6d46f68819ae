//! Picking again, streams under the peer's limit, deadlines and load to the end of the stream.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt as _, poll};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use tower_service::Service as _;

use super::scripted::{Call, Peer, Scripted, endpoint, pushed, request, settle, trailers};
use crate::{balance::Balance, endpoint::Endpoint, grpc::Code, policy::RoundRobin};

fn call(balance: &Balance<Scripted>) -> Pin<Box<Call>> {
    Box::pin(balance.clone().call(request()))
}

pub(super) fn in_flight(balance: &Balance<Scripted>) -> u64 {
    let snapshot = balance.core.shared.published.load();
    snapshot.ready.endpoints().iter().map(|ready| ready.load().in_flight()).sum()
}

/// A balancer with `n` connected endpoints, which are numbered from 1.
pub(super) async fn connected(n: u16, max_streams: usize) -> (Balance<Scripted>, Vec<Peer>, impl Sized) {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.policy(RoundRobin::new()).build().expect("in a runtime");
    handle.replace((1..=n).map(endpoint));
    let mut peers: Vec<(Endpoint, Peer)> = Vec::new();
    for _ in 0..n {
        let attempt = dialled.next().await;
        peers.push(((*attempt.endpoint).clone(), attempt.succeed(max_streams)));
    }
    settle().await;
    peers.sort_by_key(|(endpoint, _)| endpoint.addresses()[0].clone());
    (balance, peers.into_iter().map(|(_, peer)| peer).collect(), (handle, dialled))
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_connection_died_under_the_pick_goes_elsewhere() {
    let (balance, mut peers, _rest) = connected(2, usize::MAX).await;
    let mut call = call(&balance);
    assert!(poll!(&mut call).is_pending());
    let dead = usize::from(peers[0].calls_waiting() == 0);
    peers[dead].received().expect("the call was sent").unsent();
    assert!(poll!(&mut call).is_pending());
    peers[1 - dead].received().expect("it was picked again").status(Code::Ok);
    call.await.expect("it is answered");
    let snapshot = balance.core.shared.published.load();
    let calls = snapshot.ready.endpoints()[dead].load().calls();
    assert_eq!((calls.started, calls.cancelled), (0, 0), "the dead one never had it");
    assert_eq!(in_flight(&balance), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_does_not_spin_on_a_dead_connection_that_the_snapshot_still_shows() {
    let (balance, mut peers, _rest) = connected(1, usize::MAX).await;
    let mut call = call(&balance);
    assert!(poll!(&mut call).is_pending());
    peers[0].received().expect("the call was sent").unsent();
    assert!(poll!(&mut call).is_pending());
    assert!(peers[0].received().is_none(), "it waits for news of the endpoint");
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_goes_to_another_endpoint_and_counts_its_attempts() {
    let (balance, mut peers, _rest) = connected(2, usize::MAX).await;
    let mut call = call(&balance);
    assert!(poll!(&mut call).is_pending());
    let first = usize::from(peers[0].calls_waiting() == 0);
    peers[first].received().expect("the call was sent").refuse(false);
    assert!(poll!(&mut call).is_pending());
    peers[1 - first].received().expect("it went elsewhere").status(Code::Ok);
    let response = call.await.expect("it is answered");
    assert_eq!(response.extensions().get::<crate::Peer>().expect("the chosen endpoint").attempts(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_every_endpoint_refused_goes_to_them_again_after_a_respite() {
    let (balance, mut peers, _rest) = connected(2, usize::MAX).await;
    let mut call = call(&balance);
    for _ in 0..2 {
        assert!(poll!(&mut call).is_pending());
        let one = usize::from(peers[0].calls_waiting() == 0);
        peers[one].received().expect("the call was sent").refuse(false);
    }
    assert!(poll!(&mut call).is_pending());
    assert!(peers.iter().all(|peer| peer.calls_waiting() == 0), "not at once");
    tokio::time::advance(Duration::from_millis(21)).await;
    assert!(poll!(&mut call).is_pending());
    let one = usize::from(peers[0].calls_waiting() == 0);
    peers[one].received().expect("the call was sent again").status(Code::Ok);
    call.await.expect("it is answered");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_refused_again_and_again_fails_and_is_safe_to_retry() {
    let (balance, mut peers, _rest) = connected(1, usize::MAX).await;
    let mut call = call(&balance);
    for attempt in 1..=4 {
        assert!(poll!(&mut call).is_pending());
        peers[0].received().expect("the call was sent").refuse(false);
        if attempt < 4 {
            assert!(poll!(&mut call).is_pending());
            tokio::time::advance(Duration::from_millis(500)).await;
        }
    }
    let error = call.now_or_never().expect("at once").expect_err("it was refused everywhere");
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.is_safe_to_retry());
    assert_eq!(in_flight(&balance), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_refused_three_times_at_most() {
    let (balance, mut peers, _rest) = connected(6, usize::MAX).await;
    let mut call = call(&balance);
    for _ in 0..4 {
        assert!(poll!(&mut call).is_pending());
        let one = peers.iter().position(|peer| peer.calls_waiting() > 0).expect("the call was sent");
        peers[one].received().expect("the call was sent").refuse(false);
    }
    assert!(call.now_or_never().expect("at once").is_err());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_goaway_left_unprocessed_may_go_to_the_same_endpoints_next_connection() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.build().expect("in a runtime");
    handle.insert(endpoint(1));
    let mut peer = dialled.accept().await;
    let mut call = call(&balance);
    assert!(poll!(&mut call).is_pending());
    let received = peer.received().expect("the call was sent");
    tokio::time::advance(Duration::from_secs(2)).await;
    peer.go_away().await;
    received.refuse(true);
    assert!(poll!(&mut call).is_pending(), "it waits for the next connection");
    let mut next = dialled.accept().await;
    assert!(poll!(&mut call).is_pending());
    next.received().expect("it was sent again").status(Code::Ok);
    call.await.expect("it is answered");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_without_room_is_no_candidate_while_another_has_some() {
    let (balance, mut peers, _rest) = connected(2, 1).await;
    let (mut first, mut second) = (call(&balance), call(&balance));
    assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
    assert_eq!((peers[0].calls_waiting(), peers[1].calls_waiting()), (1, 1));
    let mut third = call(&balance);
    assert!(poll!(&mut third).is_pending());
    assert_eq!((peers[0].calls_waiting(), peers[1].calls_waiting()), (1, 1), "the third waits for a stream");
    peers[1].received().expect("one of them").status(Code::Ok);
    let (first, second) = (first.now_or_never(), second.now_or_never());
    assert!(first.is_some() || second.is_some());
    drop((first, second));
    settle().await;
    assert!(poll!(&mut third).is_pending());
    assert_eq!(peers[1].calls_waiting(), 1, "the third goes where a stream came free");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_a_stream_has_a_deadline_and_can_be_dropped() {
    let (balance, mut peers, _rest) = connected(1, 1).await;
    let mut running = call(&balance);
    assert!(poll!(&mut running).is_pending());
    let mut request = request();
    request.headers_mut().insert("grpc-timeout", "1S".parse().expect("a header value"));
    let late = balance.clone().call(request);
    let mut dropped = call(&balance);
    assert!(poll!(&mut dropped).is_pending());
    drop(dropped);
    assert!(late.await.expect_err("no stream comes free").is_deadline_exceeded());
    assert_eq!(balance.core.shared.room.waiting(), 0);
    drop(running);
    drop(peers[0].received().expect("the call was sent"));
    let mut next = call(&balance);
    assert!(poll!(&mut next).is_pending());
    assert_eq!(peers[0].calls_waiting(), 1, "the cancelled call's stream was free");
}

#[tokio::test(start_paused = true)]
async fn a_raised_stream_limit_lets_waiting_calls_go() {
    let (balance, peers, _rest) = connected(1, 1).await;
    let (mut first, mut second) = (call(&balance), call(&balance));
    assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
    peers[0].set_max_streams(2).await;
    assert!(poll!(&mut second).is_pending());
    assert_eq!(peers[0].calls_waiting(), 2);
}

#[tokio::test(start_paused = true)]
async fn load_is_counted_to_the_last_frame_the_error_or_the_drop() {
    let (balance, mut peers, _rest) = connected(1, usize::MAX).await;
    for how in ["trailers", "error", "drop", "cancel"] {
        let mut call = call(&balance);
        assert!(poll!(&mut call).is_pending());
        assert_eq!(in_flight(&balance), 1, "{how}");
        let received = peers[0].received().expect("the call was sent");
        if how == "cancel" {
            drop(call);
            assert!(received.is_cancelled());
            assert_eq!(in_flight(&balance), 0, "{how}");
            continue;
        }
        let frames = received.stream();
        let mut body = call.await.expect("headers").into_body();
        frames.send(Ok(Frame::data(Bytes::from_static(b"x")))).expect("the body is read");
        body.frame().await.expect("a frame").expect("data");
        assert_eq!(in_flight(&balance), 1, "{how}");
        match how {
            "trailers" => {
                frames.send(Ok(trailers(Code::Ok))).expect("the body is read");
                body.frame().await.expect("a frame").expect("trailers");
            }
            "error" => {
                frames.send(Err(super::scripted::lost("reset"))).expect("the body is read");
                body.frame().await.expect("a frame").expect_err("the error");
            }
            _ => drop(body),
        }
        assert_eq!(in_flight(&balance), 0, "{how}");
    }
    let calls = balance.core.shared.published.load().ready.endpoints()[0].load().calls();
    assert_eq!((calls.started, calls.succeeded, calls.failed, calls.cancelled), (4, 1, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_trailers_only_response_stays_one_and_ends_the_call_at_once() {
    let (balance, mut peers, _rest) = connected(1, usize::MAX).await;
    let mut call = call(&balance);
    assert!(poll!(&mut call).is_pending());
    peers[0].received().expect("the call was sent").status(Code::Unavailable);
    let response = call.await.expect("headers");
    assert!(response.body().is_end_stream());
    let calls = balance.core.shared.published.load().ready.endpoints()[0].load().calls();
    assert_eq!((calls.failed, calls.in_flight()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_with_its_data_is_no_cancelled_call() {
    let (balance, mut peers, _rest) = connected(1, usize::MAX).await;
    let mut call = call(&balance);
    assert!(poll!(&mut call).is_pending());
    let frames = peers[0].received().expect("the call was sent").stream();
    let mut body = call.await.expect("headers").into_body();
    frames.send(Ok(Frame::data(Bytes::from_static(b"x")))).expect("the body is read");
    drop(frames);
    body.frame().await.expect("a frame").expect("data");
    assert!(body.is_end_stream());
    drop(body);
    let calls = balance.core.shared.published.load().ready.endpoints()[0].load().calls();
    assert_eq!((calls.succeeded, calls.cancelled, calls.in_flight()), (1, 0, 0));
}
