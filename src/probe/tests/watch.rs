use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    answers::{http_404, trailers_only},
    scripted::{Bench, Peer, connection, error, start, start_on},
};
use crate::{
    grpc::Code,
    health::proto::ServingStatus::*,
    probe::{
        Grpc, Probe,
        caller::{CallError, Caller},
    },
};

type Lend = watch::Sender<Option<std::sync::Arc<dyn Caller>>>;

/// A watch on a connection that is there.
fn lent() -> (Bench, Peer, Lend) {
    let (peer, opened) = connection();
    let (lend, lent) = watch::channel(Some(opened.caller));
    (start_on(Probe::from(Grpc::watch("route.Router")), lent), peer, lend)
}

/// gRFC A17, row by row: NOT_SERVING, SERVING, an end with OK, then UNAVAILABLE again and again.
#[tokio::test(start_paused = true)]
async fn asks_at_once_after_a_stream_that_spoke_and_then_by_the_backoff() {
    let (mut bench, mut peer, _lend) = lent();
    let call = peer.call().await;
    assert_eq!(call.request.uri(), "/grpc.health.v1.Health/Watch");
    assert!(call.request.headers().get("grpc-timeout").is_none(), "it may last for ever");
    let stream = call.open();
    stream.say(NotServing);
    assert_eq!(bench.verdict().await, "failing: NOT_SERVING");
    sleep(Duration::from_secs(300)).await;
    stream.say(Serving);
    assert_eq!(bench.verdict().await, "passing", "one message is enough, either way");
    stream.end(Code::Ok);
    assert_eq!(bench.verdict().await, "failing: Watch ended: OK");

    let mut call = peer.call().await;
    assert_eq!(call.at, Instant::now(), "at once");
    let mut base: f64 = 1.0;
    for retry in 0..12 {
        let at = call.at;
        call.answer(trailers_only(Code::Unavailable));
        call = peer.call().await;
        let gap = (call.at - at).as_secs_f64();
        if retry == 0 {
            assert_eq!(gap, 1.0);
            assert_eq!(bench.verdict().await, "failing: Watch ended: UNAVAILABLE");
        } else {
            base = (base * 1.6).min(120.0);
            // The clock has milliseconds.
            assert!((gap / base - 1.0).abs() <= 0.201, "retry {retry} after {gap} s instead of {base} ±20 %");
        }
    }
    let stream = call.open();
    stream.say(Serving);
    assert_eq!(bench.verdict().await, "passing");
    stream.break_off();
    assert_eq!(bench.verdict().await, "failing: connect: the stream was reset");
    assert_eq!(peer.call().await.at, Instant::now(), "a message starts the schedule over");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_each_stream_after_one_message_is_not_asked_in_a_circle() {
    let (mut bench, mut peer, _lend) = lent();
    let begun = Instant::now();
    let mut asked = 0;
    while begun.elapsed() < Duration::from_secs(30) {
        let stream = peer.call().await.open();
        stream.say(Serving);
        stream.end(Code::Ok);
        asked += 1;
    }
    assert!((20..=61).contains(&asked), "asked {asked} times in 30 s");
    assert_eq!(bench.verdict().await, "passing");
    assert_eq!(bench.verdict().await, "failing: Watch ended: OK");
}

#[tokio::test(start_paused = true)]
async fn a_server_without_a_health_service_counts_as_healthy_which_is_told_once() {
    let logs = super::logs::capture(async {
        let (mut bench, mut peer, lend) = lent();
        peer.call().await.answer(trailers_only(Code::Unimplemented));
        assert_eq!(bench.verdict().await, "passing");
        sleep(Duration::from_secs(3_000)).await;
        assert!(peer.calls.try_recv().is_err(), "it is not asked again on this connection");
        let (mut next, opened) = connection();
        lend.send_replace(Some(opened.caller));
        next.call().await.answer(trailers_only(Code::Unimplemented));
        assert_eq!(bench.verdict().await, "none");
        assert_eq!(bench.verdict().await, "passing");
    })
    .await;
    assert_eq!(logs.matches("has no health service").count(), 1, "{logs}");
    assert!(logs.contains("route.Router"), "{logs}");
}

/// gRPC reads UNIMPLEMENTED into an HTTP 404, by which a web server would be a healthy backend.
#[tokio::test(start_paused = true)]
async fn a_server_that_answers_404_is_not_one_without_a_health_service() {
    let (mut bench, mut peer, _lend) = lent();
    peer.call().await.answer(http_404());
    assert_eq!(bench.verdict().await, "failing: Watch ended: it answers HTTP 404, and is no gRPC server");
    peer.call().await;
}

#[tokio::test(start_paused = true)]
async fn each_new_connection_awaits_the_first_word() {
    let (mut bench, mut peer, lend) = lent();
    let stream = peer.call().await.open();
    stream.say(Serving);
    assert_eq!(bench.verdict().await, "passing");
    lend.send_replace(None);
    assert_eq!(bench.verdict().await, "none");
    stream.cancelled().await;

    let (mut next, opened) = connection();
    lend.send_replace(Some(opened.caller));
    next.call().await.open().say(NotServing);
    assert_eq!(bench.verdict().await, "failing: NOT_SERVING");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_goes_away_is_no_failure() {
    let (mut bench, mut peer, lend) = lent();
    peer.call().await.fail(CallError::Gone(error("going away")));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(bench.told(), None);
    let (mut next, opened) = connection();
    lend.send_replace(Some(opened.caller));
    next.call().await.open().say(Serving);
    assert_eq!(bench.verdict().await, "passing");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_fails_until_it_speaks() {
    let (mut bench, mut peer, _lend) = lent();
    let stream = peer.call().await.open();
    assert_eq!(bench.verdict().await, "failing: it says nothing within 1s");
    sleep(Duration::from_secs(60)).await;
    stream.say(Serving);
    assert_eq!(bench.verdict().await, "passing", "the stream was kept");
    assert!(peer.calls.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn silence_after_the_first_word_is_no_failure() {
    let (mut bench, mut peer, _lend) = lent();
    let stream = peer.call().await.open();
    stream.say(Serving);
    sleep(Duration::from_secs(86_400)).await;
    assert_eq!(bench.verdict().await, "passing");
    assert_eq!(bench.told(), None);
}

#[tokio::test(start_paused = true)]
async fn the_empty_name_is_the_server_as_a_whole() {
    let (mut peer, opened) = connection();
    let (_lend, lent) = watch::channel(Some(opened.caller));
    let _bench = start_on(Grpc::watch(""), lent);
    assert_eq!(peer.call().await.service().await.0, "");
}

#[tokio::test(start_paused = true)]
async fn without_a_data_connection_it_has_its_own() {
    let mut bench = start(Grpc::watch("route.Router"));
    bench.dial().await.refuse();
    assert_eq!(bench.verdict().await, "failing: connect: connection refused");
    let dial = bench.dial().await;
    assert_eq!(dial.at.elapsed(), Duration::ZERO);
    let mut peer = dial.accept();
    let stream = peer.call().await.open();
    stream.say(Serving);
    assert_eq!(bench.verdict().await, "passing");
    peer.go_away();
    stream.cancelled().await;
    let mut peer = bench.dial().await.accept();
    peer.call().await.open().say(NotServing);
    assert_eq!(bench.verdict().await, "failing: NOT_SERVING", "no connection of a probe's own is a verdict");
}

#[tokio::test(start_paused = true)]
async fn the_backoff_starts_over_on_a_new_connection() {
    let (_bench, mut peer, lend) = lent();
    for _ in 0..6 {
        peer.call().await.answer(trailers_only(Code::Unavailable));
    }
    let (mut next, opened) = connection();
    lend.send_replace(Some(opened.caller));
    let call = next.call().await;
    let first = call.at;
    call.answer(trailers_only(Code::Unavailable));
    assert_eq!(next.call().await.at - first, Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_ends_each_connection_of_its_own_is_not_dialled_in_a_circle() {
    let mut bench = start(Grpc::watch("route.Router"));
    let begun = Instant::now();
    let mut dialled = 0;
    while begun.elapsed() < Duration::from_secs(30) {
        bench.dial().await.accept().lose();
        dialled += 1;
    }
    assert!((20..=62).contains(&dialled), "dialled {dialled} times in 30 s");
}
