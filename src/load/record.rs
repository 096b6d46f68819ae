//! One endpoint's counters.

use std::{
    sync::{
        Arc,
        atomic::{
            self,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    grpc::Outcome,
    load::{
        SetLoad,
        clock::{Clock, whole_micros},
        holds::Holds,
        latency::PeakEwma,
        sync::AtomicU64,
    },
};

/// One in this many successes of an endpoint is told to the set, so that cores do not fight for its cache line.
const SET_SAMPLING: u64 = 8;

/// Names one [`Load`] for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoadId(u64);

impl LoadId {
    pub(crate) fn get(self) -> u64 {
        self.0
    }
}

/// The load of one endpoint: lock-free counters that every call writes and every pick reads.
///
/// What a pick reads stands first and fills one cache line.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Load {
    started: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    latency: PeakEwma,
    clock: Clock,
    holds: Holds,
    id: LoadId,
    set: Arc<SetLoad>,
}

/// How the calls to an endpoint went since its [`Load`] began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Calls {
    /// Calls that were picked.
    pub started: u64,
    /// Calls that ended with [`Outcome::Success`].
    pub succeeded: u64,
    /// Calls that ended with [`Outcome::Failure`].
    pub failed: u64,
    /// Calls that ended with [`Outcome::Cancelled`], or whose caller was dropped.
    pub cancelled: u64,
}

impl Calls {
    /// Calls that were picked and whose stream has not ended.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.started.saturating_sub(self.succeeded + self.failed + self.cancelled)
    }
}

impl Load {
    /// The load of a new endpoint of a set.
    #[must_use]
    pub fn new(set: Arc<SetLoad>) -> Self {
        static NEXT: atomic::AtomicU64 = atomic::AtomicU64::new(0);
        Self {
            started: AtomicU64::default(),
            succeeded: AtomicU64::default(),
            failed: AtomicU64::default(),
            cancelled: AtomicU64::default(),
            latency: PeakEwma::default(),
            clock: Clock::start(),
            holds: Holds::default(),
            id: LoadId(NEXT.fetch_add(1, Relaxed)),
            set,
        }
    }

    /// Names this load.
    #[must_use]
    pub fn id(&self) -> LoadId {
        self.id
    }

    /// What this endpoint shares with the others of its set.
    #[must_use]
    pub fn set(&self) -> &Arc<SetLoad> {
        &self.set
    }

    /// Calls that were picked and whose stream has not ended.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.calls().in_flight()
    }

    /// Calls that count as pending: those in flight, and failures that are still held against the endpoint.
    ///
    /// A failure is held until twice the set's mean success time after its pick (at least 1 ms, at most 1 s; see
    /// [`SetLoad::hold`]), rounded up by an eighth at most.
    #[must_use]
    pub fn pending(&self, now: Instant) -> u64 {
        // In this order a failure that ends meanwhile may count twice for a moment, and is never missed.
        let in_flight = self.in_flight();
        if self.holds.never_held() { in_flight } else { in_flight + self.holds.count(self.clock.micros(now)) }
    }

    /// The peak-sensitive moving average of the time from the pick to the response's headers; `None` before the first
    /// call.
    ///
    /// A slower sample replaces it at once, faster ones draw it down with a time constant of 10 s, and so does time
    /// without calls. A failure never lowers it: it counts as no faster than [`SetLoad::hold`]. A call that was given
    /// up before its headers counts as long as it lasted, if that is longer.
    #[must_use]
    pub fn latency(&self, now: Instant) -> Option<Duration> {
        self.latency_seconds(now).map(Duration::from_secs_f32)
    }

    /// [`latency`](Self::latency) in seconds, which a pick compares without converting it.
    pub(crate) fn latency_seconds(&self, now: Instant) -> Option<f32> {
        self.latency.seconds(self.clock.micros(now))
    }

    /// How the calls went so far.
    #[must_use]
    pub fn calls(&self) -> Calls {
        // The ends before the starts: a call that ends meanwhile may look unended, and none looks unstarted.
        let succeeded = self.succeeded.load(Acquire);
        let failed = self.failed.load(Acquire);
        let cancelled = self.cancelled.load(Acquire);
        Calls { started: self.started.load(Relaxed), succeeded, failed, cancelled }
    }

    pub(super) fn start_call(&self) {
        self.started.fetch_add(1, Relaxed);
    }

    pub(super) fn headers_arrived(&self, picked_at: Instant, now: Instant) {
        self.latency.observe(now.saturating_duration_since(picked_at), self.clock.micros(now));
    }

    /// Ends a call. `headers` says whether [`headers_arrived`](Self::headers_arrived) was told of it.
    pub(super) fn end_call(&self, outcome: Outcome, picked_at: Instant, headers: bool, now: Instant) {
        let took = now.saturating_duration_since(picked_at);
        let micros = self.clock.micros(now);
        match outcome {
            Outcome::Success => {
                if !headers {
                    self.latency.observe(took, micros);
                }
                if self.succeeded.fetch_add(1, Release) % SET_SAMPLING == 0 {
                    self.set.observe(took);
                }
            }
            Outcome::Failure => {
                let hold = self.set.hold();
                // Before the first success nobody knows what fast is.
                let known = self.set.mean_success_time().is_some();
                let unanswered = if headers { Duration::ZERO } else { took };
                let bound = if known { unanswered.max(hold) } else { unanswered };
                if !bound.is_zero() {
                    self.latency.observe_at_least(bound, micros);
                }
                self.holds.add(micros, self.clock.micros(picked_at), whole_micros(hold));
                // The hold is there before the call is gone: nobody sees the endpoint without both.
                self.failed.fetch_add(1, Release);
            }
            Outcome::Cancelled => {
                if !headers && !took.is_zero() {
                    self.latency.observe_at_least(took, micros);
                }
                self.cancelled.fetch_add(1, Release);
            }
        }
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;
    use crate::load::InFlight;

    #[test]
    fn ten_thousand_idle_loads_are_small() {
        // A pick reads the first 64 bytes of these.
        assert!(size_of::<Load>() <= 256, "{}", size_of::<Load>());
        assert!(offset_of!(Load, holds) <= 56, "the holds' fast check is on the first line");
        assert!(size_of::<InFlight>() <= 32, "{}", size_of::<InFlight>());
    }
}
