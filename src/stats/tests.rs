use std::{
    io,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use tokio::time::{Instant, advance};
use tracing::{Dispatch, subscriber::NoSubscriber};

use super::{
    ChannelState, ChannelStats, Disconnect,
    EndpointState::{self, Backoff, Connecting, Draining, Idle, Ready},
    EndpointStats,
};
use crate::{
    endpoint::{Endpoint, EndpointSet},
    error::{Error, Phase},
    grpc::{Code, Outcome},
    load::{InFlight, Load},
};

fn endpoint(address: &str) -> Arc<Endpoint> {
    Arc::new(address.parse().unwrap())
}

fn refused() -> Error {
    Error::new(Code::Unavailable, Phase::Connect, "TCP connect failed")
        .at(endpoint("10.0.0.1:1"))
        .because(io::Error::from(io::ErrorKind::ConnectionRefused))
}

#[test]
fn a_channel_is_in_the_best_state_of_its_endpoints() {
    for (endpoints, state) in [
        (&[][..], ChannelState::TransientFailure),
        (&[Backoff, Backoff], ChannelState::TransientFailure),
        (&[Draining], ChannelState::TransientFailure),
        (&[Draining, Idle], ChannelState::Idle),
        (&[Idle, Backoff], ChannelState::Idle),
        (&[Backoff, Connecting, Idle], ChannelState::Connecting),
        (&[Idle, Connecting, Backoff], ChannelState::Connecting),
        (&[Connecting, Backoff, Ready, Idle], ChannelState::Ready),
        (&[Ready, Draining], ChannelState::Ready),
    ] {
        assert_eq!(ChannelState::of(endpoints.iter().copied()), state, "{endpoints:?}");
    }
}

#[test]
fn the_latest_state_is_read_back() {
    let stats = EndpointStats::default();
    assert_eq!(stats.state(), Idle);
    for state in [Connecting, Ready, Backoff, Draining, Idle] {
        stats.set_state(&endpoint("10.0.0.1:1"), state, None);
        assert_eq!(stats.state(), state);
    }
}

#[tokio::test(start_paused = true)]
async fn connections_are_counted_by_what_became_of_them() {
    let (stats, endpoint) = (EndpointStats::default(), endpoint("10.0.0.1:1"));
    stats.connected();
    stats.connected();
    stats.connect_failed(&endpoint, &refused());
    advance(Duration::from_secs(3)).await;
    stats.disconnected(&endpoint, Disconnect::Removed, None);
    for (times, reason) in Disconnect::ALL.into_iter().enumerate() {
        (0..times).for_each(|_| stats.disconnected(&endpoint, reason, None));
    }
    let snapshot = stats.snapshot(&endpoint);
    assert_eq!((snapshot.connects, snapshot.connect_failures), (2, 1));
    let counts = Disconnect::ALL.map(|reason| snapshot.disconnects.get(reason));
    assert_eq!(counts, [0, 1, 2, 3, 5, 5]);
    assert_eq!(snapshot.disconnects.total(), 16);
    let failure = snapshot.last_failure.expect("a disconnect without cause leaves the last failure");
    assert_eq!(failure.at.elapsed(), Duration::from_secs(3));
}

#[test]
fn an_endpoint_without_calls_is_small() {
    assert!(size_of::<EndpointStats>() < 200, "{}", size_of::<EndpointStats>());
}

#[test]
fn calls_of_many_threads_add_up() {
    let stats = Arc::new(ChannelStats::default());
    thread::scope(|scope| {
        for thread in 0..40 {
            let stats = &stats;
            scope.spawn(move || {
                for call in 0..1700 {
                    stats.ended(Code::ALL[(thread + call) % 17]);
                }
                stats.repicked();
                stats.retried();
                stats.retried();
                stats.expired();
                drop(stats.wait());
            });
        }
    });
    let snapshot = stats.snapshot("x");
    assert!(Code::ALL.iter().all(|code| snapshot.outcomes.get(*code) == 4000), "{snapshot:?}");
    assert_eq!(snapshot.outcomes.total(), 68_000);
    assert_eq!((snapshot.repicked, snapshot.retried, snapshot.expired), (40, 80, 40));
    assert_eq!((snapshot.queued, snapshot.waiting), (40, 0));
}

#[test]
fn a_call_waits_until_its_guard_is_gone() {
    let stats = Arc::new(ChannelStats::default());
    let (first, second) = (stats.wait(), stats.wait());
    assert_eq!(stats.snapshot("x").waiting, 2);
    drop(first);
    assert_eq!(stats.snapshot("x").waiting, 1);
    drop(second);
    let snapshot = stats.snapshot("x");
    assert_eq!((snapshot.waiting, snapshot.queued), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_failed_resolution_does_not_renew_the_set() {
    let stats = ChannelStats::default();
    assert_eq!(stats.snapshot("x").set_age, None);
    stats.resolved(&EndpointSet::new([endpoint("10.0.0.1:1")], 1));
    advance(Duration::from_secs(7)).await;
    stats.resolution_failed(&Error::new(Code::Unavailable, Phase::Resolve, "SERVFAIL"));
    let snapshot = stats.snapshot("x");
    assert_eq!(snapshot.set_age, Some(Duration::from_secs(7)));
    assert_eq!((snapshot.resolutions, snapshot.failed_resolutions), (1, 1));
    assert_eq!(snapshot.last_resolution_failure.unwrap().error.message(), "SERVFAIL");
    stats.resolved(&EndpointSet::new([endpoint("10.0.0.1:1")], 2));
    assert_eq!(stats.snapshot("x").set_age, Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_prints_as_an_aligned_table() {
    let channel = ChannelStats::default();
    let set = EndpointSet::new([endpoint("10.0.0.1:1"), endpoint("[2001:db8::1]:50051")], 1);
    channel.resolved(&set);
    (0..98).for_each(|_| channel.ended(Code::Ok));
    (0..2).for_each(|_| channel.ended(Code::Unavailable));
    channel.retried();

    let stats = [EndpointStats::default(), EndpointStats::default()];
    let states: [EndpointState; 2] = [Backoff, Ready];
    for ((stats, endpoint), state) in stats.iter().zip(set.endpoints()).zip(states) {
        stats.set_state(endpoint, state, None);
    }
    stats[0].connect_failed(&set.endpoints()[0], &refused());
    stats[1].connected();
    advance(Duration::from_millis(2500)).await;

    let mut snapshot = channel.snapshot("dns:///greeter:50051");
    snapshot.state = ChannelState::of(states);
    snapshot.endpoints = stats.iter().zip(set.endpoints()).map(|(stats, of)| stats.snapshot(of)).collect();
    snapshot.endpoints[1].started = 100;
    let load = Arc::new(Load::new(Arc::default()));
    let picked = Instant::now();
    (0..100).for_each(|_| {
        InFlight::start(load.clone(), picked).finish(Outcome::Success, picked + Duration::from_millis(2));
    });
    snapshot.endpoints[1].latencies = load.latencies();
    assert_eq!(
        format!("\n{snapshot}"),
        "
dns:///greeter:50051  READY, 2 endpoints resolved 2.5s ago
calls  100  OK 98  UNAVAILABLE 2  retried 1
endpoint             state    weight  calls  in flight  failed  cancelled    p50    p99  connects  lost  last failure
10.0.0.1:1           backoff       1      0          0       0          0      -      -         0     0  2.5s ago: connect 10.0.0.1:1: TCP connect failed: connection refused
[2001:db8::1]:50051  ready         1    100          0       0          0  1.9ms  1.9ms         1     0  -
"
    );
}

#[test]
fn each_change_is_told_once_with_endpoint_and_cause() {
    let told = told(|| {
        let (stats, endpoint) = (EndpointStats::default(), endpoint("10.0.0.1:1"));
        stats.set_state(&endpoint, Connecting, None);
        stats.connect_failed(&endpoint, &refused());
        stats.set_state(&endpoint, Backoff, Some(&refused()));
        stats.set_state(&endpoint, Backoff, Some(&refused()));
        stats.disconnected(&endpoint, Disconnect::Keepalive, None);
    });
    let cause = "connect 10.0.0.1:1: TCP connect failed: connection refused";
    assert_eq!(
        told,
        [
            " INFO grpc_balance::endpoint: endpoint changed state endpoint=10.0.0.1:1 from=idle to=connecting".to_owned(),
            format!("DEBUG grpc_balance::endpoint: connection attempt failed endpoint=10.0.0.1:1 cause={cause}"),
            format!(
                " INFO grpc_balance::endpoint: endpoint changed state endpoint=10.0.0.1:1 from=connecting to=backoff cause={cause}"
            ),
            "DEBUG grpc_balance::endpoint: disconnected endpoint=10.0.0.1:1 reason=\"keepalive\"".to_owned(),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn discovery_is_told_aloud_when_it_changes() {
    let told = told(|| {
        let stats = ChannelStats::default();
        let failed = Error::new(Code::Unavailable, Phase::Resolve, "SERVFAIL");
        stats.resolved(&EndpointSet::new([endpoint("10.0.0.1:1")], 1));
        stats.resolved(&EndpointSet::new([endpoint("10.0.0.1:1")], 1));
        stats.resolution_failed(&failed);
        stats.resolution_failed(&failed);
        stats.resolved(&EndpointSet::new([endpoint("10.0.0.1:1")], 1));
    });
    let levels: Vec<_> = told.iter().map(|line| line.trim_start().split(' ').next().unwrap()).collect();
    assert_eq!(levels, ["INFO", "DEBUG", "WARN", "DEBUG", "INFO"], "{told:?}");
    assert!(told[2].ends_with("cause=resolve: SERVFAIL"), "{}", told[2]);
}

/// The events of `act`, one line each.
fn told(act: impl FnOnce()) -> Vec<String> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let writer = {
        let lines = lines.clone();
        move || Lines(lines.clone())
    };
    // With a single dispatcher in the process, tracing lets the thread that first comes by an event decide for all
    // whether it is of interest, and that may be another test's. With two it asks both.
    let _second = Dispatch::new(NoSubscriber::default());
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .without_time()
        .with_ansi(false)
        .with_writer(writer)
        .finish();
    tracing::subscriber::with_default(subscriber, act);
    let written = lines.lock().unwrap().clone();
    String::from_utf8(written).unwrap().lines().map(ToOwned::to_owned).collect()
}

struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
