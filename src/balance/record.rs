//! One call, as its endpoint's load and the statistics see it.

use std::{mem, sync::Arc};

use tokio::time::Instant;

use crate::{
    balance::shared::Observer,
    grpc::Code,
    load::InFlight,
    metrics::CallMeter,
    stats::{EndpointStats, Waiting},
};

/// A call, from the moment it was made to its end. Dropping it before means that the caller gave up.
#[derive(Debug)]
pub(crate) struct Record {
    observer: Arc<Observer>,
    meter: CallMeter,
    started: Instant,
    attempts: u32,
    waiting: Option<Waiting>,
    ended: bool,
}

impl Record {
    pub(crate) fn new(observer: Arc<Observer>, path: &str, now: Instant) -> Self {
        let meter = observer.mirror.call(path);
        Self { observer, meter, started: now, attempts: 0, waiting: None, ended: false }
    }

    /// How many times the call was sent.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
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
    pub(crate) fn refused(&mut self, attempt: Attempt, code: Code) {
        attempt.endpoint.refused();
        self.observer.stats.retried();
        self.attempt_ended(attempt, code);
    }

    /// The attempt ended with this status.
    pub(crate) fn attempt_ended(&self, attempt: Attempt, code: Code) {
        let now = Instant::now();
        let took = now.saturating_duration_since(attempt.in_flight.picked_at());
        attempt.endpoint.timed(took);
        self.meter.attempt_ended(code, took);
        attempt.in_flight.finish(self.observer.classify.outcome(code), now);
    }

    /// The call ended because its deadline passed here.
    pub(crate) fn expired(self) {
        self.observer.stats.expired();
        self.ended(Code::DeadlineExceeded);
    }

    /// The call ended with this status.
    pub(crate) fn ended(mut self, code: Code) {
        self.end(code);
    }

    fn end(&mut self, code: Code) {
        if !mem::replace(&mut self.ended, true) {
            self.observer.stats.ended(code);
            self.meter.ended(code, self.started.elapsed(), self.attempts.saturating_sub(1));
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
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
