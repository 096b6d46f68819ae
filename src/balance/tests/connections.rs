//! How connections are made, lost, replaced and given up.

use std::{pin::pin, time::Duration};

use futures_util::poll;
use tokio::time::Instant;
use tower_service::Service as _;

use super::scripted::{endpoint, pushed, request, settle};
use crate::{grpc::Code, policy::PickFirst, stats::ChannelState};

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_failing_endpoint_is_retried_by_the_backoff_curve_measured_start_to_start() {
    let (handle, builder, mut dialled) = pushed();
    let _balance = builder.connect_timeout(secs(0.5)).build().expect("in a runtime");
    handle.insert(endpoint(1));
    let mut starts = Vec::new();
    for i in 0..5 {
        let attempt = dialled.next().await;
        starts.push(attempt.at);
        match i % 2 {
            0 => attempt.fail("connection refused"),
            // A black hole: the attempt ends when its time is up, which must not stretch the gap.
            _ => tokio::time::sleep(secs(0.6)).await,
        }
    }
    let gaps: Vec<f64> = starts.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    for (i, (gap, expected)) in gaps.iter().zip([1.0, 1.6, 2.56, 4.096]).enumerate() {
        let tolerance = if i == 0 { 0.002 } else { expected * 0.2 + 0.002 };
        assert!((gap - expected).abs() <= tolerance, "gap {i} of {gaps:?} is not {expected}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_accepts_and_closes_is_not_hammered() {
    let (handle, builder, mut dialled) = pushed();
    let _balance = builder.build().expect("in a runtime");
    handle.insert(endpoint(1));
    let mut starts: Vec<Instant> = Vec::new();
    for _ in 0..4 {
        let attempt = dialled.next().await;
        starts.push(attempt.at);
        let peer = attempt.succeed(usize::MAX);
        settle().await;
        peer.break_off().await;
    }
    for pair in starts.windows(2) {
        assert!(pair[1] - pair[0] >= secs(1.0), "{:?}", pair[1] - pair[0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_served_is_replaced_at_once() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.build().expect("in a runtime");
    handle.insert(endpoint(1));
    let mut peer = dialled.accept().await;
    let mut call = pin!(balance.clone().call(request()));
    assert!(poll!(&mut call).is_pending());
    peer.received().expect("the call was sent").status(Code::Ok);
    call.await.expect("it is answered");
    let before = Instant::now();
    peer.go_away().await;
    assert_eq!(dialled.next().await.at, before);
}

#[tokio::test(start_paused = true)]
async fn an_established_connection_resets_the_backoff() {
    let (handle, builder, mut dialled) = pushed();
    let _balance = builder.build().expect("in a runtime");
    handle.insert(endpoint(1));
    for _ in 0..4 {
        dialled.next().await.fail("connection refused");
    }
    let peer = dialled.accept().await;
    tokio::time::advance(secs(5.0)).await;
    peer.break_off().await;
    let first = dialled.next().await;
    let at = first.at;
    first.fail("connection refused");
    assert_eq!(dialled.next().await.at - at, secs(1.0));
}

#[tokio::test(start_paused = true)]
async fn at_most_64_attempts_are_in_flight_at_once() {
    let (handle, builder, mut dialled) = pushed();
    let _balance = builder.build().expect("in a runtime");
    handle.replace((1..=100).map(endpoint));
    let mut attempts = Vec::new();
    while let Some(attempt) = dialled.waiting().await {
        attempts.push(attempt);
    }
    assert_eq!(attempts.len(), 64);
    attempts.pop().expect("64 of them").fail("connection refused");
    let next = dialled.waiting().await.expect("the next one takes its turn");
    let more = dialled.waiting().await;
    assert!(more.is_none(), "{more:?} after {next:?}");
}

#[tokio::test(start_paused = true)]
async fn a_changed_weight_keeps_the_connection() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.build().expect("in a runtime");
    handle.insert(endpoint(1));
    let peer = dialled.accept().await;
    handle.insert(endpoint(1).with_weight(7));
    settle().await;
    assert!(dialled.waiting().await.is_none() && !peer.is_let_go().await);
    let snapshot = balance.core.shared.published.load();
    assert_eq!(snapshot.ready.endpoints()[0].weight(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_removed_endpoint_gets_no_calls_and_finishes_its_streams() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.build().expect("in a runtime");
    handle.replace([endpoint(1)]);
    let mut old = dialled.accept().await;
    let mut call = pin!(balance.clone().call(request()));
    assert!(poll!(&mut call).is_pending());
    let received = old.received().expect("the call was sent");
    handle.replace([endpoint(2)]);
    settle().await;
    let mut new = dialled.accept().await;
    let mut next = pin!(balance.clone().call(request()));
    assert!(poll!(&mut next).is_pending());
    assert_eq!((old.calls_waiting(), new.calls_waiting()), (0, 1));
    received.status(Code::Ok);
    call.await.expect("the old endpoint finishes the call");
    new.received().expect("the call was sent").status(Code::Ok);
    next.await.expect("it is answered");
    tokio::time::advance(secs(0.1)).await;
    assert!(old.is_let_go().await, "the old connection closes with its last stream");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_comes_back_while_it_drains_gets_a_new_connection() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.build().expect("in a runtime");
    handle.replace([endpoint(1)]);
    let mut old = dialled.accept().await;
    let mut call = pin!(balance.clone().call(request()));
    assert!(poll!(&mut call).is_pending());
    let received = old.received().expect("the call was sent");
    handle.replace(Vec::<crate::endpoint::Endpoint>::new());
    settle().await;
    handle.replace([endpoint(1)]);
    let mut new = dialled.accept().await;
    let mut next = pin!(balance.clone().call(request()));
    assert!(poll!(&mut next).is_pending());
    new.received().expect("the new connection takes calls").status(Code::Ok);
    next.await.expect("it is answered");
    received.status(Code::Ok);
    call.await.expect("the old connection finishes its call");
}

#[tokio::test(start_paused = true)]
async fn a_connection_more_is_opened_when_streams_run_out_up_to_the_limit() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.max_connections_per_endpoint(2).build().expect("in a runtime");
    handle.insert(endpoint(1));
    let first = dialled.next().await.succeed(1);
    settle().await;
    let mut calls: Vec<_> = (0..3).map(|_| Box::pin(balance.clone().call(request()))).collect();
    assert!(poll!(&mut calls[0]).is_pending());
    assert!(dialled.waiting().await.is_none(), "nobody waits yet");
    assert!(poll!(&mut calls[1]).is_pending());
    let second = dialled.next().await.succeed(1);
    settle().await;
    assert!(poll!(&mut calls[1]).is_pending());
    assert_eq!((first.calls_waiting(), second.calls_waiting()), (1, 1));
    assert!(poll!(&mut calls[2]).is_pending());
    assert!(dialled.waiting().await.is_none(), "the limit is reached");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_endpoints_in_one_answer_are_one_change() {
    let (handle, builder, _dialled) = pushed();
    let balance = builder.build().expect("in a runtime");
    let mut watch = balance.watch();
    handle.replace((0..10_000u16).map(endpoint));
    watch.changed().await.expect("the balancer lives");
    assert_eq!(watch.borrow_and_update().endpoints(), 10_000);
}

#[tokio::test(start_paused = true)]
async fn pick_first_connects_to_one_and_moves_on_when_it_fails() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.policy(PickFirst::new()).build().expect("in a runtime");
    handle.replace([endpoint(1), endpoint(2), endpoint(3)]);
    let first = dialled.next().await;
    assert!(dialled.waiting().await.is_none());
    let before = Instant::now();
    first.fail("connection refused");
    let second = dialled.next().await;
    assert_eq!(second.at, before, "a failure starts the next attempt at once");
    let third = dialled.next().await;
    assert_eq!(third.at - before, Duration::from_millis(250), "the connection attempt delay");
    let peer = second.succeed(usize::MAX);
    settle().await;
    assert!(third.is_given_up(), "the race is over");
    assert_eq!(balance.watch().borrow().ready(), 1);
    assert!(!peer.is_let_go().await);
}

#[tokio::test(start_paused = true)]
async fn pick_first_fails_calls_when_every_address_failed() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.policy(PickFirst::new()).build().expect("in a runtime");
    handle.replace([endpoint(1), endpoint(2)]);
    dialled.next().await.fail("connection refused");
    let mut call = pin!(balance.clone().call(request()));
    assert!(poll!(&mut call).is_pending(), "one address is left");
    dialled.next().await.fail("connection refused");
    assert_eq!(call.await.expect_err("none is left").code(), Code::Unavailable);
    assert_eq!(balance.watch().borrow().state(), ChannelState::TransientFailure);
}

#[tokio::test(start_paused = true)]
async fn streams_of_a_removed_endpoint_are_cut_at_the_drain_limit() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.drain_limit(secs(5.0)).build().expect("in a runtime");
    handle.insert(endpoint(1));
    let mut peer = dialled.accept().await;
    let mut call = pin!(balance.clone().call(request()));
    assert!(poll!(&mut call).is_pending());
    handle.remove(endpoint(1).key());
    settle().await;
    tokio::time::advance(secs(4.9)).await;
    assert!(peer.was_cut().await.is_none());
    tokio::time::advance(secs(0.2)).await;
    let cause = peer.was_cut().await.expect("the limit has passed");
    assert!(cause.to_string().contains("5s"), "{cause}");
}
