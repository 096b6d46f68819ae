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
    pub(crate) fn attempt_ended(&self, code: Code, took: impl FnOnce() -> Duration) {
        self.0.timed(&self.0.attempts, ATTEMPT_DURATION, code, took());
    }

    /// The call ended after this time, with this many attempts beyond the first.
    pub(crate) fn ended(&self, code: Code, took: impl FnOnce() -> Duration, retries: u32) {
        self.0.timed(&self.0.calls, CALL_DURATION, code, took());
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
