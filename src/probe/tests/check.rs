use std::time::Duration;

use bytes::Bytes;
use tokio::{sync::watch, time::Instant};

use super::{
    answers::{answer, http_404, message, trailers_only},
    scripted::{self, Peer, connection, dials, error, probing, start, start_on},
};
use crate::{
    grpc::Code,
    health::{Thresholds, proto::ServingStatus::*},
    probe::{Grpc, Probe, caller::CallError},
};

/// No jitter, so that times are exact after the first pause.
fn probe() -> Probe {
    Probe::from(Grpc::new("route.Router")).jitter(Duration::ZERO).thresholds(Thresholds::new(1, 2))
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_reused_from_check_to_check() {
    let mut bench = start(probe());
    let mut peer = bench.dial().await.accept();
    for _ in 0..5 {
        peer.call().await.say(Serving);
    }
    assert!(bench.dials.try_recv().is_err());
    assert_eq!(bench.verdict().await, "passing");
    assert_eq!(bench.told(), None, "a verdict is told when it changes");
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_takes_timeout_plus_interval_and_its_connection_is_replaced() {
    let mut bench = start(probe());
    let mut peer = bench.dial().await.accept();
    peer.call().await.say(Serving);
    assert_eq!(bench.verdict().await, "passing");
    let mut begun = None;
    for _ in 0..3 {
        let mut call = peer.call().await;
        if let Some(begun) = begun.replace(call.at) {
            assert_eq!(call.at - begun, Duration::from_secs(1 + 5));
        }
        call.cancelled().await;
        assert_eq!(call.at.elapsed(), Duration::from_secs(1));
        drop(call);
        let dial = bench.dial().await;
        assert!(
            peer.is_left(),
            "a peer that is gone without a word is not asked on the same connection again"
        );
        peer = dial.accept();
    }
    assert_eq!(bench.verdict().await, "failing: no answer within 1s");
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_hangs_is_a_check_that_hangs() {
    let mut bench = start(probe());
    let dial = bench.dial().await;
    let begun = dial.at;
    assert_eq!(bench.verdict().await, "failing: no answer within 1s");
    assert_eq!(begun.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn what_the_server_says_itself_counts_at_once_and_what_it_does_not_say_is_counted() {
    for (response, expected) in [
        (answer(NotServing), Some("failing: NOT_SERVING")),
        (answer(ServiceUnknown), Some("failing: SERVICE_UNKNOWN")),
        (answer(Unknown), Some("failing: UNKNOWN")),
        (trailers_only(Code::NotFound), Some("failing: no service `route.Router`: NOT_FOUND")),
        (trailers_only(Code::Unimplemented), None),
        (trailers_only(Code::Unavailable), None),
        (trailers_only(Code::Ok), None),
        (http_404(), None),
    ] {
        let mut bench = start(probe());
        let mut peer = bench.dial().await.accept();
        peer.call().await.say(Serving);
        assert_eq!(bench.verdict().await, "passing");
        peer.call().await.answer(response);
        // The next check: the finding has been heard.
        let next = peer.call().await;
        assert_eq!(bench.told().as_deref(), expected);
        drop(next);
    }
}

#[tokio::test(start_paused = true)]
async fn a_health_server_that_answers_404_is_no_health_server() {
    let mut bench = start(probe());
    let mut peer = bench.dial().await.accept();
    peer.call().await.answer(http_404());
    assert_eq!(bench.verdict().await, "failing: it answers HTTP 404, and is no gRPC server");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_health_message_is_a_failure_that_says_so() {
    let long = Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff]);
    let compressed = Bytes::from_static(&[1, 0, 0, 0, 0]);
    let broken = Bytes::from_static(&[0, 0, 0, 0, 1, 0xff]);
    for (bytes, expected) in [
        (long, "failing: stream: a health message of 4294967295 bytes is too long: expected at most 65536"),
        (compressed, "failing: stream: the health message is compressed, which nobody asked for"),
        (broken, "failing: the answer is no health message: "),
    ] {
        let mut bench = start(probe());
        let mut peer = bench.dial().await.accept();
        let stream = peer.call().await.open();
        stream.data(bytes);
        stream.end(Code::Ok);
        let verdict = bench.verdict().await;
        assert!(verdict.starts_with(expected), "{verdict}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_its_status_is_a_failure() {
    let mut bench = start(probe());
    let mut peer = bench.dial().await.accept();
    let stream = peer.call().await.open();
    stream.say(Serving);
    drop(stream);
    assert_eq!(bench.verdict().await, "failing: the call ended without a status");
}

#[tokio::test(start_paused = true)]
async fn a_message_may_come_in_pieces() {
    let mut bench = start(probe());
    let mut peer = bench.dial().await.accept();
    let stream = peer.call().await.open();
    for byte in message(Serving) {
        stream.data(Bytes::copy_from_slice(&[byte]));
        tokio::task::yield_now().await;
    }
    stream.end(Code::Ok);
    assert_eq!(bench.verdict().await, "passing");
}

async fn passing(bench: &mut scripted::Bench) -> Peer {
    let mut peer = bench.dial().await.accept();
    peer.call().await.say(Serving);
    assert_eq!(bench.verdict().await, "passing");
    peer
}

#[tokio::test(start_paused = true)]
async fn a_goaway_is_no_failure_and_the_question_is_asked_again() {
    let mut bench = start(probe().thresholds(Thresholds::new(1, 1)));
    let mut peer = passing(&mut bench).await;
    let call = peer.call().await;
    let asked = call.at;
    call.fail(CallError::Gone(error("going away")));
    let mut next = bench.dial().await.accept();
    let call = next.call().await;
    assert_eq!(call.at, asked, "at once");
    call.say(Serving);
    next.call().await.say(Serving);
    assert_eq!(bench.told(), None, "nothing has happened");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_between_two_checks_is_opened_again_for_the_next() {
    for goes_away in [true, false] {
        let mut bench = start(probe().thresholds(Thresholds::new(1, 1)));
        let mut peer = passing(&mut bench).await;
        if goes_away {
            peer.go_away()
        } else {
            peer.lose()
        }
        let mut next = bench.dial().await.accept();
        next.call().await.say(Serving);
        assert!(peer.calls.recv().await.is_none(), "the old one is asked nothing");
        next.call().await.say(Serving);
        assert_eq!(bench.told(), None, "nothing has happened");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_lost_under_a_check_is_a_failure() {
    let mut bench = start(probe().thresholds(Thresholds::new(1, 1)));
    let mut peer = passing(&mut bench).await;
    let call = peer.call().await;
    peer.lose();
    call.fail(CallError::Failed(error("the connection was lost")));
    assert_eq!(bench.verdict().await, "failing: connect: the connection was lost");
    bench.dial().await.accept().call().await.say(Serving);
    assert_eq!(bench.verdict().await, "passing");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_every_connection_away_is_not_well() {
    let mut bench = start(probe());
    let begun = Instant::now();
    for _ in 0..3 {
        bench.dial().await.accept().call().await.fail(CallError::Gone(error("going away")));
    }
    assert_eq!(bench.verdict().await, "failing: connect: going away");
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn on_the_data_connection_nothing_is_found_while_there_is_none() {
    let (lend, lent) = watch::channel(None);
    let mut bench = start_on(probe_on_data(), lent);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(bench.told(), None);

    let (mut peer, opened) = connection();
    lend.send_replace(Some(opened.caller));
    peer.call().await.say(Serving);
    assert_eq!(bench.verdict().await, "passing");

    // It goes away under a check, and its successor takes a while.
    peer.call().await.fail(CallError::Gone(error("going away")));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(bench.told(), None);
    let (mut next, opened) = connection();
    lend.send_replace(Some(opened.caller));
    next.call().await.say(NotServing);
    assert_eq!(bench.verdict().await, "failing: NOT_SERVING");
    assert!(bench.dials.try_recv().is_err(), "it has no connection of its own");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_on_the_data_connection_does_not_wait_for_another_one() {
    let (_lend, (mut peer, lent)) = {
        let (peer, opened) = connection();
        let (lend, lent) = watch::channel(Some(opened.caller));
        (lend, (peer, lent))
    };
    let mut bench = start_on(probe_on_data().thresholds(Thresholds::new(1, 1)), lent);
    peer.call().await.cancelled().await;
    assert_eq!(bench.verdict().await, "failing: no answer within 1s");
    peer.call().await.say(Serving);
    assert_eq!(bench.verdict().await, "passing");
}

fn probe_on_data() -> Probe {
    Probe::from(Grpc::new("route.Router").on_data_connection())
        .jitter(Duration::ZERO)
        .thresholds(Thresholds::new(1, 2))
}

#[tokio::test(start_paused = true)]
async fn another_port_is_asked_under_the_same_name() {
    let mut bench = start(probe().port(8086));
    let dial = bench.dial().await;
    assert_eq!(dial.endpoint.to_string(), "192.0.2.1:8086");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_service_name_is_told_once_when_no_endpoint_knows_it() {
    let logs = super::logs::capture(async {
        let (open, mut dialled) = dials();
        let probing = probing(probe(), open);
        let mut benches: Vec<_> =
            (0..3).map(|_| scripted::run(&probing, tokio::sync::mpsc::unbounded_channel().1, None)).collect();
        for _ in 0..3 {
            dialled.recv().await.expect("a dial").accept().always(|| trailers_only(Code::NotFound));
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        for bench in &mut benches {
            assert_eq!(bench.verdict().await, "failing: no service `route.Router`: NOT_FOUND");
        }
    })
    .await;
    let told: Vec<&str> = logs.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(told.len(), 1, "{logs}");
    assert!(told[0].contains("route.Router") && told[0].contains("endpoints=3"), "{}", told[0]);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_one_endpoint_knows_is_not_called_wrong() {
    let logs = super::logs::capture(async {
        let (open, mut dialled) = dials();
        let probing = probing(probe(), open);
        let _benches: Vec<_> =
            (0..2).map(|_| scripted::run(&probing, tokio::sync::mpsc::unbounded_channel().1, None)).collect();
        dialled.recv().await.expect("a dial").accept().always(|| answer(NotServing));
        dialled.recv().await.expect("a dial").accept().always(|| trailers_only(Code::NotFound));
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    assert!(!logs.contains("ERROR"), "{logs}");
}
