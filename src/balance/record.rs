//! One call, as its endpoint's load and the statistics see it.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    balance::shared::Observer,
    grpc::Code,
    load::InFlight,
    metrics::CallMeter,
    stats::{EndpointStats, Waiting},
};

/// A call, from its first poll to its end. Dropping it before means that the caller gave up.
#[derive(Debug)]
pub(crate) struct Record {
    observer: Arc<Observer>,
    meter: CallMeter,
    /// `None` before the first poll.
    started: Option<Instant>,
    attempts: u32,
    waiting: Option<Waiting>,
}

impl Record {
    pub(crate) fn new(observer: Arc<Observer>, path: &str) -> Self {
        let meter = observer.mirror.call(path);
        Self { observer, meter, started: None, attempts: 0, waiting: None }
    }

    /// How many times the call was sent.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The call is polled for the first time.
    pub(crate) fn starts(&mut self, now: Instant) {
        self.started = Some(now);
    }

    /// The call waits for an endpoint.
    pub(crate) fn waits(&mut self) {
        if self.waiting.is_none() {
            self.waiting = Some(self.observer.stats.wait());
        }
    }

    /// The call goes to an endpoint.
    pub(crate) fn goes(&mut self, in_flight: InFlight, endpoint: Arc<EndpointStats>) -> Attempt {
        self.waiting = None;
        self.attempts += 1;
        self.meter.attempt_started();
        Attempt { in_flight, endpoint }
    }

    /// The attempt never left the process.
    pub(crate) fn unsent(&mut self, attempt: Attempt) {
        self.attempts -= 1;
        self.observer.stats.repicked();
        drop(attempt);
    }

    /// The peer refused the attempt, unprocessed.
    pub(crate) fn refused(&mut self, attempt: Attempt, code: Code, now: Instant) {
        attempt.endpoint.refused();
        self.observer.stats.retried();
        self.attempt_ended(attempt, code, now);
    }

    /// The attempt ended with this status.
    pub(crate) fn attempt_ended(&self, attempt: Attempt, code: Code, now: Instant) {
        let took = now.saturating_duration_since(attempt.in_flight.picked_at());
        attempt.endpoint.timed(took);
        self.meter.attempt_ended(code, took);
        attempt.in_flight.finish(self.observer.classify.outcome(code), now);
    }

    /// The call ended because its deadline passed here.
    pub(crate) fn expired(self, now: Instant) {
        self.observer.stats.expired();
        self.ended(Code::DeadlineExceeded, now);
    }

    /// The call ended with this status.
    pub(crate) fn ended(mut self, code: Code, now: Instant) {
        self.end(code, now);
    }

    fn end(&mut self, code: Code, now: Instant) {
        if let Some(started) = self.started.take() {
            let took = now.saturating_duration_since(started);
            self.observer.stats.ended(code);
            self.meter.ended(code, took, self.attempts.saturating_sub(1));
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.started.is_some() {
            self.end(Code::Cancelled, Instant::now());
        }
    }
}

/// One sending of a call to one endpoint. Dropping it means that the caller gave up.
#[derive(Debug)]
pub(crate) struct Attempt {
    in_flight: InFlight,
    endpoint: Arc<EndpointStats>,
}

impl Attempt {
    pub(crate) fn in_flight(&mut self) -> &mut InFlight {
        &mut self.in_flight
    }
}
