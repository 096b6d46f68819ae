//! What a channel tells the recorder.

use std::{
    array,
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use metrics::{Counter, Histogram, SharedString, counter, gauge, histogram};

use super::{
    ATTEMPT_DURATION, ATTEMPT_STARTED, CALL_DURATION, CONNECT_FAILURES, CONNECTS, DISCONNECTIONS,
    OPEN_CONNECTIONS, RESOLUTIONS, TRANSPARENT_RETRIES,
};
use crate::{grpc::Code, stats::Disconnect};

const CODES: usize = Code::ALL.len();

/// The metrics of one channel.
#[derive(Debug)]
pub(crate) struct Mirror {
    target: Arc<str>,
    methods: HashMap<Box<str>, Arc<Method>>,
    other: Arc<Method>,
}

impl Mirror {
    /// Metrics under this canonical target. Methods beside these (`package.Service/Method`, with or without a slash
    /// in front) go by `other`.
    pub(crate) fn new(target: impl Into<Arc<str>>, methods: impl IntoIterator<Item: AsRef<str>>) -> Self {
        let target = target.into();
        let methods = methods
            .into_iter()
            .map(|method| {
                let name = without_slash(method.as_ref());
                (name.into(), Arc::new(Method::new(target.clone(), name)))
            })
            .collect();
        Self { methods, other: Arc::new(Method::new(target.clone(), "other")), target }
    }

    /// The metrics of a call to this path. Nothing is counted yet.
    pub(crate) fn call(&self, path: &str) -> CallMeter {
        CallMeter(self.methods.get(without_slash(path)).unwrap_or(&self.other).clone())
    }

    /// A connection was established.
    pub(crate) fn connected(&self) {
        counter!(CONNECTS, "grpc.target" => self.target.clone()).increment(1);
        gauge!(OPEN_CONNECTIONS, "grpc.target" => self.target.clone()).increment(1.0);
    }

    /// A connection attempt failed, rather than being given up.
    pub(crate) fn connect_failed(&self) {
        counter!(CONNECT_FAILURES, "grpc.target" => self.target.clone()).increment(1);
    }

    /// A connection ended.
    pub(crate) fn disconnected(&self, reason: Disconnect) {
        // The values that A94 lists.
        let error = match reason {
            Disconnect::GoAway => "GOAWAY",
            Disconnect::Closed => "socket error",
            Disconnect::Keepalive => "connection timed out",
            Disconnect::Reset => "connection reset",
            Disconnect::Removed | Disconnect::Shutdown => "subchannel shutdown",
        };
        let target = self.target.clone();
        counter!(DISCONNECTIONS, "grpc.target" => target, "grpc.disconnect_error" => error).increment(1);
        gauge!(OPEN_CONNECTIONS, "grpc.target" => self.target.clone()).decrement(1.0);
    }

    /// Discovery answered.
    pub(crate) fn resolved(&self) {
        counter!(RESOLUTIONS, "grpc.target" => self.target.clone(), "result" => "ok").increment(1);
    }

    /// Discovery failed.
    pub(crate) fn resolution_failed(&self) {
        counter!(RESOLUTIONS, "grpc.target" => self.target.clone(), "result" => "failed").increment(1);
    }
}

/// The metrics of one call; cheap to make, cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct CallMeter(Arc<Method>);

impl CallMeter {
    /// The call goes to an endpoint.
    pub(crate) fn attempt_started(&self) {
        self.0.attempt_started.get_or_init(|| self.0.counter(ATTEMPT_STARTED)).increment(1);
    }

    /// The endpoint's attempt ended after this time.
    pub(crate) fn attempt_ended(&self, code: Code, took: Duration) {
        self.0.timed(&self.0.attempts, ATTEMPT_DURATION, code, took);
    }

    /// The call ended after this time, with this many attempts beyond the first.
    pub(crate) fn ended(&self, code: Code, took: Duration, retries: u32) {
        self.0.timed(&self.0.calls, CALL_DURATION, code, took);
        // "Calls without any are not recorded" (A96): they would drown the others.
        if retries > 0 {
            let histogram = self.0.retries.get_or_init(|| {
                histogram!(TRANSPARENT_RETRIES, "grpc.method" => self.0.name.clone(), "grpc.target" => self.0.target.clone())
            });
            histogram.record(f64::from(retries));
        }
    }
}

/// The handles of one method, each looked up when it is first needed.
struct Method {
    name: SharedString,
    target: Arc<str>,
    attempt_started: OnceLock<Counter>,
    attempts: [OnceLock<Histogram>; CODES],
    calls: [OnceLock<Histogram>; CODES],
    retries: OnceLock<Histogram>,
}

impl Method {
    fn new(target: Arc<str>, name: &str) -> Self {
        Self {
            name: SharedString::from_shared(name.into()),
            target,
            attempt_started: OnceLock::new(),
            attempts: array::from_fn(|_| OnceLock::new()),
            calls: array::from_fn(|_| OnceLock::new()),
            retries: OnceLock::new(),
        }
    }

    fn counter(&self, metric: &'static str) -> Counter {
        counter!(metric, "grpc.method" => self.name.clone(), "grpc.target" => self.target.clone())
    }

    fn timed(
        &self,
        by_code: &[OnceLock<Histogram>; CODES],
        metric: &'static str,
        code: Code,
        took: Duration,
    ) {
        let Some(histogram) = by_code.get(code as usize) else { return };
        let histogram = histogram.get_or_init(|| {
            histogram!(
                metric,
                "grpc.method" => self.name.clone(),
                "grpc.target" => self.target.clone(),
                "grpc.status" => code.name()
            )
        });
        histogram.record(took.as_secs_f64());
    }
}

impl std::fmt::Debug for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Method").field(&self.name).finish()
    }
}

fn without_slash(path: &str) -> &str {
    path.strip_prefix('/').unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use metrics::with_local_recorder;
    use metrics_util::{
        MetricKind,
        debugging::{DebugValue, DebuggingRecorder},
    };

    use super::*;

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
            call.attempt_ended(Code::Unavailable, Duration::from_millis(250));
            call.attempt_started();
            call.attempt_ended(Code::Ok, Duration::from_millis(500));
            call.ended(Code::Ok, Duration::from_secs(1), 1);
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
        let seen = seen(|mirror| mirror.call(METHOD).ended(Code::Ok, Duration::ZERO, 0));
        assert!(!seen.iter().any(|line| line.contains("retries")), "{seen:?}");
    }

    #[test]
    fn methods_that_nobody_registered_share_one_name() {
        let seen = seen(|mirror| {
            for method in 0..1000 {
                mirror.call(&format!("/made.Up/Method{method}")).attempt_started();
            }
        });
        assert_eq!(
            seen,
            ["grpc.client.attempt.started grpc.method=other grpc.target=dns:///greeter:50051 1000"]
        );
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
        mirror.call(METHOD).ended(Code::Ok, Duration::ZERO, 3);
    }
}
