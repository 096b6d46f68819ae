//! One call, counted.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{grpc::Outcome, load::Load};

/// One call counted in a [`Load`], from the pick until this is finished or dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the call as cancelled"]
pub struct InFlight {
    load: Arc<Load>,
    picked_at: Instant,
    headers: bool,
    ended: bool,
    trial: bool,
}

impl InFlight {
    /// Counts a call that was picked just now.
    pub fn start(load: Arc<Load>, picked_at: Instant) -> Self {
        load.start_call();
        Self { load, picked_at, headers: false, ended: false, trial: false }
    }

    /// The call is the only one that an endpoint on trial gets.
    pub(crate) fn on_trial(mut self, trial: bool) -> Self {
        self.trial = trial;
        self
    }

    /// Whether the call is the only one that an endpoint on trial gets.
    pub(crate) fn is_trial(&self) -> bool {
        self.trial
    }

    /// When the call was picked.
    #[must_use]
    pub fn picked_at(&self) -> Instant {
        self.picked_at
    }

    /// The load that the call counts in.
    #[must_use]
    pub fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// Notes that the response's headers arrived. Only the first time counts.
    ///
    /// Not to be told of a trailers-only response: that is the end of the call, and may be a failure.
    pub fn headers_arrived(&mut self, now: Instant) {
        if !self.headers {
            self.headers = true;
            self.load.headers_arrived(self.picked_at, now);
        }
    }

    /// Ends the call with an outcome, and times it. Dropping it instead means that the caller gave up.
    pub fn finish(mut self, outcome: Outcome, now: Instant) {
        let took = self.end(outcome, now);
        self.load.timed(took);
    }

    /// Ends a call that the endpoint refused without having processed it.
    pub fn refuse(mut self, outcome: Outcome, now: Instant) {
        self.load.refused();
        self.end(outcome, now);
    }

    /// Takes the call back: it never left the process, and so it never was the endpoint's.
    pub fn withdraw(mut self) {
        self.ended = true;
        self.load.withdraw_call();
    }

    fn end(&mut self, outcome: Outcome, now: Instant) -> Duration {
        self.ended = true;
        let took = now.saturating_duration_since(self.picked_at);
        self.load.end_call(outcome, took, self.headers, now);
        took
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Outcome::Cancelled, Instant::now());
        }
        if self.trial
            && let Some(conduct) = self.load.conduct()
        {
            conduct.end_trial(Outcome::Cancelled);
        }
    }
}
