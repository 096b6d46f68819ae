//! One call, as the statistics see it.

use tokio::time::Instant;

use crate::{
    balance::shared::Observer,
    error::Error,
    grpc::{Code, Outcome},
    load::InFlight,
    metrics::CallMeter,
};

/// A call, from its first poll to its end.
#[derive(Debug)]
pub(crate) struct Record {
    meter: CallMeter,
    started: Instant,
    attempts: u32,
}

impl Record {
    pub(crate) fn new(observer: &Observer, path: &str, now: Instant) -> Self {
        Self { meter: observer.mirror.call(path), started: now, attempts: 0 }
    }

    /// How many times the call was sent.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The call goes to an endpoint.
    pub(crate) fn goes(&mut self) {
        self.attempts += 1;
        self.meter.attempt_started();
    }

    /// The attempt never left the process.
    pub(crate) fn unsent(&mut self, observer: &Observer, in_flight: InFlight) {
        self.attempts -= 1;
        observer.stats.repicked();
        let picked_at = in_flight.picked_at();
        self.meter.attempt_ended(Code::Unavailable, || picked_at.elapsed());
        in_flight.withdraw();
    }

    /// The peer refused the attempt, unprocessed.
    ///
    /// `going_away`: with a GOAWAY, which says nothing about how well it works.
    pub(crate) fn refused(
        &self,
        observer: &Observer,
        in_flight: InFlight,
        code: Code,
        going_away: bool,
        now: Instant,
    ) {
        let picked_at = in_flight.picked_at();
        self.meter.attempt_ended(code, || now.saturating_duration_since(picked_at));
        let outcome = observer.classify.outcome(code);
        if let Some(watcher) = observer.watcher.as_ref().filter(|_| !going_away) {
            watcher.answered(&in_flight, code, outcome);
        }
        in_flight.refuse(outcome, now);
    }

    /// The attempt ended with this status.
    pub(crate) fn attempt_ended(&self, observer: &Observer, in_flight: InFlight, code: Code, now: Instant) {
        let outcome = observer.classify.outcome(code);
        if let Some(watcher) = &observer.watcher {
            watcher.answered(&in_flight, code, outcome);
        }
        self.attempt_over(in_flight, code, outcome, now);
    }

    /// The attempt ended without a status: the stream or its connection broke, which speaks of the endpoint whatever
    /// code it is told as, unless the caller gave up or ran out of time.
    pub(crate) fn attempt_broken(
        &self,
        observer: &Observer,
        in_flight: InFlight,
        error: &Error,
        now: Instant,
    ) {
        let outcome = match error.code() {
            Code::Cancelled | Code::DeadlineExceeded => Outcome::Cancelled,
            _ => Outcome::Failure,
        };
        if let Some(watcher) = &observer.watcher {
            watcher.broke(&in_flight, error, outcome);
        }
        self.attempt_over(in_flight, error.code(), outcome, now);
    }

    /// The deadline ended the attempt. To A50 that is a status like any other.
    pub(crate) fn attempt_expired(observer: &Observer, in_flight: InFlight, error: &Error) {
        if let Some(watcher) = &observer.watcher {
            watcher.broke(&in_flight, error, Outcome::Cancelled);
        }
    }

    fn attempt_over(&self, in_flight: InFlight, code: Code, outcome: Outcome, now: Instant) {
        let picked_at = in_flight.picked_at();
        self.meter.attempt_ended(code, || now.saturating_duration_since(picked_at));
        in_flight.finish(outcome, now);
    }

    /// The call ended with this status.
    pub(crate) fn ended(self, observer: &Observer, code: Code, now: Instant) {
        observer.stats.ended(code);
        let took = || now.saturating_duration_since(self.started);
        self.meter.ended(code, took, self.attempts.saturating_sub(1));
    }
}
