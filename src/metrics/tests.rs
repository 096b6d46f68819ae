use std::time::Duration;

use metrics::with_local_recorder;
use metrics_util::{
    MetricKind,
    debugging::{DebugValue, DebuggingRecorder},
};

use super::Mirror;
use crate::{grpc::Code, stats::Disconnect};

const METHOD: &str = "helloworld.Greeter/SayHello";

/// What a recorder has seen after `act`, one line for each series, in order.
fn seen(act: impl FnOnce(&Mirror)) -> Vec<String> {
    let recorder = DebuggingRecorder::new();
    let mirror = Mirror::new("dns:///greeter:50051", [METHOD]);
    with_local_recorder(&recorder, || act(&mirror));
    let mut seen: Vec<String> = recorder
        .snapshotter()
        .snapshot()
        .into_vec()
        .into_iter()
        .map(|(key, _, _, value)| {
            let (kind, key) = key.into_parts();
            let mut labels: Vec<_> =
                key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            labels.sort();
            let value = match (kind, value) {
                (MetricKind::Counter, DebugValue::Counter(value)) => value.to_string(),
                (MetricKind::Gauge, DebugValue::Gauge(value)) => value.to_string(),
                (MetricKind::Histogram, DebugValue::Histogram(values)) => format!("{values:?}"),
                other => panic!("{other:?}"),
            };
            format!("{} {} {value}", key.name(), labels.join(" "))
        })
        .collect();
    seen.sort();
    seen
}

#[test]
fn a_call_is_told_under_a66_names() {
    let seen = seen(|mirror| {
        let call = mirror.call("/helloworld.Greeter/SayHello");
        call.attempt_started();
        call.attempt_ended(Code::Unavailable, || Duration::from_millis(250));
        call.attempt_started();
        call.attempt_ended(Code::Ok, || Duration::from_millis(500));
        call.ended(Code::Ok, || Duration::from_secs(1), 1);
    });
    let labels = "grpc.method=helloworld.Greeter/SayHello";
    let target = "grpc.target=dns:///greeter:50051";
    assert_eq!(
        seen,
        [
            format!("grpc.client.attempt.duration {labels} grpc.status=OK {target} [0.5]"),
            format!("grpc.client.attempt.duration {labels} grpc.status=UNAVAILABLE {target} [0.25]"),
            format!("grpc.client.attempt.started {labels} {target} 2"),
            format!("grpc.client.call.duration {labels} grpc.status=OK {target} [1.0]"),
            format!("grpc.client.call.transparent_retries {labels} {target} [1.0]"),
        ]
    );
}

#[test]
fn calls_without_retries_do_not_count_as_zero() {
    let seen = seen(|mirror| mirror.call(METHOD).ended(Code::Ok, || Duration::ZERO, 0));
    assert!(!seen.iter().any(|line| line.contains("retries")), "{seen:?}");
}

#[test]
fn methods_that_nobody_registered_share_one_name() {
    let seen = seen(|mirror| {
        for method in 0..1000 {
            mirror.call(&format!("/made.Up/Method{method}")).attempt_started();
        }
    });
    assert_eq!(seen, ["grpc.client.attempt.started grpc.method=other grpc.target=dns:///greeter:50051 1000"]);
}

#[test]
fn connections_are_told_under_a94_names() {
    let seen = seen(|mirror| {
        (0..7).for_each(|_| mirror.connected());
        mirror.connect_failed();
        Disconnect::ALL.into_iter().for_each(|reason| mirror.disconnected(reason));
    });
    let target = "grpc.target=dns:///greeter:50051";
    let disconnections = |error, count| {
        format!("grpc.subchannel.disconnections grpc.disconnect_error={error} {target} {count}")
    };
    assert_eq!(
        seen,
        [
            format!("grpc.subchannel.connection_attempts_failed {target} 1"),
            format!("grpc.subchannel.connection_attempts_succeeded {target} 7"),
            disconnections("GOAWAY", 1),
            disconnections("connection reset", 1),
            disconnections("connection timed out", 1),
            disconnections("socket error", 1),
            disconnections("subchannel shutdown", 2),
            format!("grpc.subchannel.open_connections {target} 1"),
        ]
    );
}

#[test]
fn discovery_is_told_by_result() {
    let seen = seen(|mirror| {
        mirror.resolved();
        mirror.resolution_failed();
        mirror.resolution_failed();
    });
    let target = "grpc.target=dns:///greeter:50051";
    assert_eq!(
        seen,
        [
            format!("grpc_balance.resolutions {target} result=failed 2"),
            format!("grpc_balance.resolutions {target} result=ok 1"),
        ]
    );
}

#[test]
fn nothing_happens_without_a_recorder() {
    let mirror = Mirror::new("x", [METHOD]);
    mirror.connected();
    mirror.call(METHOD).ended(Code::Ok, || Duration::ZERO, 3);
}
