//! The statistics, mirrored through the [`metrics`] facade under gRPC's names.
//!
//! Dashboards for gRPC know the metrics of gRFCs [A66], [A94] and [A96]. With the feature `metrics` every channel
//! reports them to whatever recorder the application has installed:
//!
//! | metric | kind | labels |
//! |---|---|---|
//! | `grpc.client.attempt.started` | counter | `grpc.method`, `grpc.target` |
//! | `grpc.client.attempt.duration` | histogram, s | `grpc.method`, `grpc.target`, `grpc.status` |
//! | `grpc.client.call.duration` | histogram, s | `grpc.method`, `grpc.target`, `grpc.status` |
//! | `grpc.client.call.transparent_retries` | histogram | `grpc.method`, `grpc.target` |
//! | `grpc.subchannel.connection_attempts_succeeded` | counter | `grpc.target` |
//! | `grpc.subchannel.connection_attempts_failed` | counter | `grpc.target` |
//! | `grpc.subchannel.disconnections` | counter | `grpc.target`, `grpc.disconnect_error` |
//! | `grpc.subchannel.open_connections` | gauge | `grpc.target` |
//! | `grpc_balance.resolutions` | counter | `grpc.target`, `result`: `ok` or `failed` |
//!
//! An attempt is one send to one endpoint; a call that nobody refused has one. Only calls that were retried count in
//! `transparent_retries`. `grpc.method` is `other` unless the method was registered: a method that comes from the
//! network must not be able to make up time series (A66). The sizes of messages are not measured.
//!
//! Install the recorder before the first call. The handles of a method are looked up once, by the first call that
//! needs them, and what was looked up without a recorder stays silent.
//!
//! ```
//! use grpc_balance::metrics::{self, LATENCY_BUCKETS};
//!
//! // After the recorder is installed, with `LATENCY_BUCKETS` for its histograms:
//! metrics::describe();
//! # assert!(LATENCY_BUCKETS.is_sorted());
//! ```
//!
//! [`metrics`]: https://docs.rs/metrics
//! [A66]: https://github.com/grpc/proposal/blob/master/A66-otel-stats.md
//! [A94]: https://github.com/grpc/proposal/blob/master/A94-subchannel-otel-metrics.md
//! [A96]: https://github.com/grpc/proposal/blob/master/A96-retry-otel-stats.md

mod mirror;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

pub(crate) use self::mirror::{CallMeter, Mirror};

/// The bounds in seconds that A66 asks of histograms of durations.
pub const LATENCY_BUCKETS: [f64; 41] = [
    0.0, 0.00001, 0.00005, 0.0001, 0.0003, 0.0006, 0.0008, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008,
    0.01, 0.013, 0.016, 0.02, 0.025, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4,
    0.5, 0.65, 0.8, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0,
];

const ATTEMPT_STARTED: &str = "grpc.client.attempt.started";
const ATTEMPT_DURATION: &str = "grpc.client.attempt.duration";
const CALL_DURATION: &str = "grpc.client.call.duration";
const TRANSPARENT_RETRIES: &str = "grpc.client.call.transparent_retries";
const CONNECTS: &str = "grpc.subchannel.connection_attempts_succeeded";
const CONNECT_FAILURES: &str = "grpc.subchannel.connection_attempts_failed";
const DISCONNECTIONS: &str = "grpc.subchannel.disconnections";
const OPEN_CONNECTIONS: &str = "grpc.subchannel.open_connections";
const RESOLUTIONS: &str = "grpc_balance.resolutions";

/// Tells the installed recorder units and descriptions of every metric.
pub fn describe() {
    describe_counter!(ATTEMPT_STARTED, Unit::Count, "Attempts of calls that were started");
    describe_histogram!(ATTEMPT_DURATION, Unit::Seconds, "Time from the start of an attempt to its end");
    describe_histogram!(
        CALL_DURATION,
        Unit::Seconds,
        "Time from the start of a call to its end, waiting included"
    );
    describe_histogram!(TRANSPARENT_RETRIES, Unit::Count, "Attempts beyond the first of calls that had any");
    describe_counter!(CONNECTS, Unit::Count, "Connection attempts that succeeded");
    describe_counter!(CONNECT_FAILURES, Unit::Count, "Connection attempts that failed");
    describe_counter!(DISCONNECTIONS, Unit::Count, "Connections that ended, by reason");
    describe_gauge!(OPEN_CONNECTIONS, Unit::Count, "Connections that are open");
    describe_counter!(RESOLUTIONS, Unit::Count, "Answers and failures of discovery");
}

#[cfg(test)]
mod tests;
