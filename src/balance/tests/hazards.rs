//! Orders of events, and policies, under which a call could hang, spin, panic or be miscounted.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt as _, poll};
use tower_service::Service as _;

use super::scripted::{Call, Peer, Scripted, endpoint, pushed, request, settle};
use crate::{
    balance::Balance,
    connect::Worker,
    endpoint::Endpoint,
    grpc::Code,
    policy::{Pick, PickContext, PickFirst, Picker, Policy, ReadySet},
    stats::ChannelState,
};

fn call(balance: &Balance<Scripted>) -> Pin<Box<Call>> {
    Box::pin(balance.clone().call(request()))
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Accepts one attempt for each of these, with this many streams, in the order of the arguments.
async fn accept_all(dialled: &mut super::scripted::Dialled, streams: &[(u16, usize)]) -> Vec<Peer> {
    let mut peers: Vec<Option<Peer>> = streams.iter().map(|_| None).collect();
    for _ in streams {
        let attempt = dialled.next().await;
        let key = attempt.endpoint.key().clone();
        let at = streams.iter().position(|(number, _)| *endpoint(*number).key() == key).expect("known");
        peers[at] = Some(attempt.succeed(streams[at].1));
    }
    settle().await;
    peers.into_iter().flatten().collect()
}

#[tokio::test(start_paused = true)]
async fn pick_first_keeps_its_connection_when_the_set_changes() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.policy(PickFirst::new()).build().expect("in a runtime");
    handle.replace([endpoint(1), endpoint(2)]);
    dialled.next().await.fail("connection refused");
    let peer = dialled.next().await.succeed(usize::MAX);
    settle().await;
    assert_eq!(balance.watch().borrow().ready(), 1);
    handle.replace([endpoint(1), endpoint(2), endpoint(3)]);
    settle().await;
    tokio::time::advance(millis(50)).await;
    assert!(!peer.is_let_go().await, "gRFC A62: the connected address is in the new list");
    assert_eq!(balance.watch().borrow().ready(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_does_not_hang_because_of_an_endpoint_of_weight_zero() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.build().expect("in a runtime");
    handle.replace([endpoint(1), endpoint(2).with_weight(0)]);
    let mut peers = accept_all(&mut dialled, &[(1, usize::MAX), (2, usize::MAX)]).await;
    let mut call = call(&balance);
    assert!(poll!(&mut call).is_pending());
    peers[0].received().expect("the call was sent").refuse(false);
    for _ in 0..20 {
        if poll!(&mut call).is_ready() || peers[0].calls_waiting() > 0 {
            return;
        }
        tokio::time::advance(millis(500)).await;
        settle().await;
    }
    panic!("ten seconds later the call still waits, beside an idle endpoint");
}

/// The same, because the endpoint that had not refused it went away while the call waited for a stream of it.
#[tokio::test(start_paused = true)]
async fn a_refused_call_does_not_hang_when_the_other_endpoint_is_removed() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.policy(crate::policy::RoundRobin::seeded(1)).build().expect("in a runtime");
    handle.replace([endpoint(1), endpoint(2)]);
    let mut peers = accept_all(&mut dialled, &[(1, usize::MAX), (2, 1)]).await;
    let mut holder = call(&balance);
    assert!(poll!(&mut holder).is_pending());
    let mut other = call(&balance);
    assert!(poll!(&mut other).is_pending());
    assert_eq!((peers[0].calls_waiting(), peers[1].calls_waiting()), (1, 1));
    let (mut refused, _held) = if peers[0].calls_waiting() == 1 { (other, holder) } else { (holder, other) };
    // Whichever of the two went to the first.
    peers[0].received().expect("one of them").refuse(false);
    assert!(poll!(&mut refused).is_pending());
    let mut _held = _held;
    assert!(poll!(&mut _held).is_pending());
    handle.replace([endpoint(1)]);
    settle().await;
    for _ in 0..20 {
        let _ = poll!(&mut refused);
        let _ = poll!(&mut _held);
        if peers[0].calls_waiting() > 0 {
            return;
        }
        tokio::time::advance(millis(500)).await;
        settle().await;
    }
    panic!("ten seconds later the call still waits, beside an idle endpoint");
}

/// Counts how often a call is polled.
struct Counted(Pin<Box<Call>>, Arc<std::sync::atomic::AtomicUsize>);

impl Future for Counted {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.0.as_mut().poll(cx).map(drop)
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_an_endpoint_refused_do_not_hand_its_permit_round_for_ever() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.policy(crate::policy::RoundRobin::seeded(1)).build().expect("in a runtime");
    handle.replace([endpoint(1), endpoint(2)]);
    let mut peers = accept_all(&mut dialled, &[(1, usize::MAX), (2, 1)]).await;
    let polls = Arc::<std::sync::atomic::AtomicUsize>::default();
    let calls: Vec<_> = (0..5).map(|_| tokio::spawn(Counted(call(&balance), polls.clone()))).collect();
    settle().await;
    assert_eq!(peers[1].calls_waiting(), 1, "it holds the only stream of the second");
    while let Some(received) = peers[0].received() {
        received.refuse(false);
        settle().await;
    }
    let before = polls.load(std::sync::atomic::Ordering::Relaxed);
    for _ in 0..20 {
        settle().await;
    }
    let spun = polls.load(std::sync::atomic::Ordering::Relaxed) - before;
    calls.iter().for_each(|call| call.abort());
    assert!(spun < 20, "polled {spun} times while nothing happened");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_given_a_stream_of_a_connection_that_is_gone_joins_the_room_again() {
    const N: usize = 16;
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.policy(crate::policy::RoundRobin::seeded(1)).build().expect("in a runtime");
    handle.replace([endpoint(1), endpoint(2)]);
    let mut peers = accept_all(&mut dialled, &[(1, N), (2, 1)]).await;
    let mut held: Vec<_> = (0..=N).map(|_| call(&balance)).collect();
    for call in &mut held {
        assert!(poll!(call).is_pending());
    }
    assert_eq!((peers[0].calls_waiting(), peers[1].calls_waiting()), (N, 1));
    let mut waiting: Vec<_> = (0..N).map(|_| call(&balance)).collect();
    for call in &mut waiting {
        assert!(poll!(call).is_pending());
    }
    assert_eq!(balance.core.shared.room.waiting(), N);
    // All streams of the first come free and go to those who wait; before these run, it is removed.
    while let Some(received) = peers[0].received() {
        received.status(Code::Ok);
    }
    held.retain_mut(|call| call.as_mut().now_or_never().is_none());
    assert_eq!(balance.core.shared.room.waiting(), 0, "each has been given a stream");
    handle.replace([endpoint(2)]);
    settle().await;
    for call in &mut waiting {
        assert!(poll!(call).is_pending());
    }
    assert_eq!(balance.core.shared.room.waiting(), N, "each waits for a stream of the second");
}

#[tokio::test(start_paused = true)]
async fn attempts_that_lost_a_race_do_not_count_as_failures() {
    let (handle, builder, mut dialled) = pushed();
    let _balance = builder.policy(PickFirst::new()).build().expect("in a runtime");
    handle.replace([endpoint(1), endpoint(2)]);
    for _ in 0..12 {
        let slow = dialled.next().await;
        let raced = dialled.next().await;
        let peer = slow.succeed(usize::MAX);
        settle().await;
        assert!(raced.is_given_up());
        tokio::time::advance(Duration::from_secs(150)).await;
        peer.break_off().await;
    }
    // The second was never seen to fail. Now the first hangs.
    let slow = dialled.next().await;
    let raced = dialled.next().await;
    let peer = slow.succeed(usize::MAX);
    settle().await;
    drop(raced);
    tokio::time::advance(Duration::from_secs(2)).await;
    peer.break_off().await;
    let hung = dialled.next().await;
    let started = hung.at;
    let second = loop {
        let attempt = dialled.next().await;
        if attempt.endpoint.key() == endpoint(2).key() {
            break attempt.at;
        }
    };
    assert!(second - started <= Duration::from_secs(2), "dialled {:?} after the first", second - started);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_of_weight_zero_gets_no_call_however_many_others_are_full() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.build().expect("in a runtime");
    handle.replace((1..=12u16).map(endpoint).chain([endpoint(13).with_weight(0)]));
    let streams: Vec<(u16, usize)> = (1..=13).map(|n| (n, 1)).collect();
    let peers = accept_all(&mut dialled, &streams).await;
    let mut calls: Vec<_> = (0..13).map(|_| call(&balance)).collect();
    for call in &mut calls {
        assert!(poll!(call).is_pending());
    }
    assert_eq!(peers[12].calls_waiting(), 0);
}

/// A policy that does not look at what is excluded.
#[derive(Debug)]
struct Stubborn;

impl Policy for Stubborn {
    fn name(&self) -> &'static str {
        "stubborn"
    }
    fn build(&self, _: &ReadySet) -> Arc<dyn Picker> {
        Arc::new(Self)
    }
}

impl Picker for Stubborn {
    fn pick(&self, _: &PickContext<'_>) -> Pick {
        Pick::Endpoint(0)
    }
}

#[tokio::test]
async fn a_picker_that_ignores_exclusions_cannot_make_a_call_spin() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.policy(Stubborn).deadline(millis(200)).build().expect("in a runtime");
    handle.insert(endpoint(1));
    let peer = dialled.accept().await;
    // The connection is dead, and the balancer, on the same thread, has had no time to learn of it.
    drop(peer);
    let mut call = call(&balance);
    let _ = poll!(&mut call);
    let repicked = balance.stats().repicked;
    assert!(repicked < 10, "picked again {repicked} times without once yielding");
}

#[test]
fn the_watch_tells_of_the_end_of_the_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (balance, _rest) = runtime.block_on(async {
        let (handle, builder, mut dialled) = pushed();
        let balance = builder.build().expect("in a runtime");
        handle.insert(endpoint(1));
        let peer = dialled.accept().await;
        (balance, (handle, dialled, peer))
    });
    drop(runtime);
    assert_eq!(balance.watch().borrow().state(), ChannelState::Shutdown);
}

#[test]
fn a_call_with_a_deadline_can_be_polled_outside_the_runtime() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (_handle, builder, _dialled) = pushed();
    let worker = Worker::new(runtime.handle().clone());
    let balance = builder.worker(worker).deadline(millis(50)).build().expect("a worker was given");
    assert!(call(&balance).now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_for_one_more_connection_that_outlives_the_others_keeps_the_backoff() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.max_connections_per_endpoint(2).build().expect("in a runtime");
    handle.insert(endpoint(1));
    let mut first = dialled.next().await.succeed(1);
    settle().await;
    let mut useful = call(&balance);
    assert!(poll!(&mut useful).is_pending());
    first.received().expect("the call was sent").status(Code::Ok);
    drop(useful.await);
    tokio::time::advance(Duration::from_secs(5)).await;
    let (mut one, mut two) = (call(&balance), call(&balance));
    assert!(poll!(&mut one).is_pending() && poll!(&mut two).is_pending());
    let growing = dialled.next().await;
    first.break_off().await;
    let at = growing.at;
    growing.fail("connection refused");
    let next = dialled.next().await;
    assert!(next.at - at >= Duration::from_secs(1), "{:?} after the attempt that failed", next.at - at);
}

/// classify: a stream that the transport broke off speaks of the endpoint, whatever code it is mapped to.
#[tokio::test(start_paused = true)]
async fn a_stream_reset_counts_against_the_endpoint() {
    use crate::error::{Error, Phase};
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.build().expect("in a runtime");
    handle.insert(Endpoint::clone(&endpoint(1)));
    let mut peer = dialled.accept().await;
    let mut call = pin!(call(&balance));
    assert!(poll!(&mut call).is_pending());
    let frames = peer.received().expect("the call was sent").stream();
    let mut body = call.await.expect("headers").into_body();
    // What http2::Link::stream_error makes of RST_STREAM(INTERNAL_ERROR).
    frames.send(Err(Error::new(Code::Internal, Phase::Stream, "the stream was reset"))).expect("it is read");
    http_body_util::BodyExt::frame(&mut body).await.expect("a frame").expect_err("the error");
    let calls = balance.core.shared.published.load().ready.endpoints()[0].load().calls();
    assert_eq!((calls.succeeded, calls.failed), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn an_unrelated_publication_does_not_reorder_those_who_wait_for_a_stream() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.build().expect("in a runtime");
    handle.insert(endpoint(1));
    let mut peer = dialled.next().await.succeed(1);
    settle().await;
    let mut holder = call(&balance);
    assert!(poll!(&mut holder).is_pending());
    let (mut first, mut second) = (call(&balance), call(&balance));
    assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
    handle.insert(endpoint(1).with_weight(2));
    settle().await;
    assert!(poll!(&mut second).is_pending() && poll!(&mut first).is_pending());
    peer.received().expect("the holder").status(Code::Ok);
    drop(holder.await);
    assert!(poll!(&mut second).is_pending());
    assert_eq!(peer.calls_waiting(), 0, "the second overtook the first, who has waited longer");
    assert!(poll!(&mut first).is_pending());
    assert_eq!(peer.calls_waiting(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_more_connection_is_tried_again_while_calls_wait_for_a_stream() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.max_connections_per_endpoint(2).build().expect("in a runtime");
    handle.insert(endpoint(1));
    let _peer = dialled.next().await.succeed(1);
    settle().await;
    tokio::time::advance(Duration::from_secs(5)).await;
    let calls = [call(&balance), call(&balance)].map(tokio::spawn);
    dialled.next().await.fail("connection refused");
    for _ in 0..60 {
        tokio::time::advance(Duration::from_secs(1)).await;
        if dialled.waiting().await.is_some() {
            return;
        }
    }
    calls.iter().for_each(|call| call.abort());
    panic!("a minute later the call still waits and nobody dials");
}

#[tokio::test(start_paused = true)]
async fn a_last_refusal_is_no_retry() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.build().expect("in a runtime");
    handle.insert(endpoint(1));
    let mut peer = dialled.accept().await;
    let mut call = call(&balance);
    for _ in 0..4 {
        assert!(poll!(&mut call).is_pending());
        peer.received().expect("the call was sent").refuse(false);
        let _ = poll!(&mut call);
        tokio::time::advance(millis(500)).await;
    }
    assert_eq!(balance.stats().retried, 3);
}

#[tokio::test(start_paused = true)]
async fn a_finished_call_holds_no_stream() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.build().expect("in a runtime");
    handle.insert(endpoint(1));
    let mut peer = dialled.next().await.succeed(1);
    settle().await;
    let mut holder = call(&balance);
    assert!(poll!(&mut holder).is_pending());
    let mut late: Vec<_> = (0..1)
        .map(|_| {
            let mut request = request();
            request.headers_mut().insert("grpc-timeout", "1S".parse().expect("a header value"));
            Box::pin(balance.clone().call(request))
        })
        .collect();
    assert!(poll!(&mut late[0]).is_pending());
    tokio::time::advance(millis(1_001)).await;
    peer.received().expect("the holder").status(Code::Ok);
    drop(holder.await);
    assert!(late[0].as_mut().now_or_never().expect("too late").is_err());
    let mut next = call(&balance);
    assert!(poll!(&mut next).is_pending());
    assert_eq!(peer.calls_waiting(), 1, "the stream of the finished call is free");
}

/// docs/errors.md, "Resets": "A CANCEL that follows the deadline is told as DEADLINE_EXCEEDED".
#[tokio::test(start_paused = true)]
async fn a_cancel_that_follows_the_deadline_is_told_as_deadline_exceeded() {
    use crate::error::{Error, Phase};
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.deadline(Duration::from_secs(1)).build().expect("in a runtime");
    handle.insert(endpoint(1));
    let mut peer = dialled.accept().await;
    let mut call = call(&balance);
    assert!(poll!(&mut call).is_pending());
    let frames = peer.received().expect("the call was sent").stream();
    let mut body = call.await.expect("headers").into_body();
    tokio::time::advance(Duration::from_secs(2)).await;
    frames.send(Err(Error::new(Code::Cancelled, Phase::Stream, "the stream was reset"))).expect("it is read");
    let error = http_body_util::BodyExt::frame(&mut body).await.expect("a frame").expect_err("the error");
    assert_eq!(error.code(), Code::DeadlineExceeded);
}
