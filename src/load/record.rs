//! One endpoint's counters.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{self, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    grpc::Outcome,
    load::{
        SetLoad,
        clock::{Clock, whole_micros},
        conduct::Conduct,
        gauge::{Gauge, Place, Seat},
        histogram::{Histogram, Latencies},
        holds::Holds,
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
#[derive(Debug)]
pub struct Load {
    id: LoadId,
    seat: Seat,
    set: Arc<SetLoad>,
    succeeded: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    refused: AtomicU64,
    holds: Holds,
    latencies: OnceLock<Box<Histogram>>,
    conduct: OnceLock<Box<Conduct>>,
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
    /// Calls that the endpoint refused without having processed them; they are among those that failed.
    pub refused: u64,
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
            id: LoadId(NEXT.fetch_add(1, Relaxed)),
            seat: set.pages.seat(),
            set,
            succeeded: AtomicU64::default(),
            failed: AtomicU64::default(),
            cancelled: AtomicU64::default(),
            refused: AtomicU64::default(),
            holds: Holds::default(),
            latencies: OnceLock::new(),
            conduct: OnceLock::new(),
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
        u64::from(self.seat.gauge().in_flight())
    }

    /// Calls that count as pending: those in flight, and failures that are still held against the endpoint.
    ///
    /// A failure is held until twice the set's mean success time after its pick (at least 1 ms, at most 1 s; see
    /// [`SetLoad::hold`]), rounded up by an eighth at most.
    #[must_use]
    pub fn pending(&self, now: Instant) -> u64 {
        pending(self.seat.gauge(), self.seat.clock(), now, || self)
    }

    /// The peak-sensitive moving average of the time from the pick to the response's headers; `None` before the first
    /// call.
    ///
    /// A slower sample replaces it at once, faster ones draw it down with a time constant of 10 s, and so does time
    /// without calls. A failure never lowers it: it counts as no faster than [`SetLoad::hold`]. A call that was given
    /// up before its headers counts as long as it lasted, if that is longer than this and than the set's mean.
    #[must_use]
    pub fn latency(&self, now: Instant) -> Option<Duration> {
        let seconds = self.seat.gauge().latency.seconds(self.seat.clock().micros(now));
        seconds.map(Duration::from_secs_f32)
    }

    /// How the calls went so far.
    #[must_use]
    pub fn calls(&self) -> Calls {
        let ended = [&self.succeeded, &self.failed, &self.cancelled].map(|counter| counter.load(Relaxed));
        let [succeeded, failed, cancelled] = ended;
        let started = self.in_flight() + succeeded + failed + cancelled;
        Calls { started, succeeded, failed, cancelled, refused: self.refused.load(Relaxed) }
    }

    /// How long calls took that ended with a status, from the pick to the end of the stream.
    #[must_use]
    pub fn latencies(&self) -> Latencies {
        self.latencies.get().map(|histogram| histogram.snapshot()).unwrap_or_default()
    }

    /// Starts to count what outlier detection asks for.
    pub(crate) fn keep_conduct(&self) {
        self.conduct.get_or_init(Box::default);
    }

    /// What outlier detection counts, if it is on.
    pub(crate) fn conduct(&self) -> Option<&Conduct> {
        self.conduct.get().map(|conduct| &**conduct)
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(super) fn timed(&self, took: Duration) {
        self.latencies.get_or_init(|| Box::new(Histogram::new())).record(took);
    }

    pub(crate) fn place(&self) -> Place {
        self.seat.place()
    }

    pub(super) fn seat(&self) -> &Seat {
        &self.seat
    }

    pub(super) fn start_call(&self) {
        self.seat.gauge().start_call();
    }

    pub(super) fn withdraw_call(&self) {
        self.seat.gauge().end_call();
    }

    pub(super) fn headers_arrived(&self, picked_at: Instant, now: Instant) {
        let took = now.saturating_duration_since(picked_at);
        self.seat.gauge().latency.observe(took, self.seat.clock().micros(now));
    }

    /// Ends a call. `headers` says whether [`headers_arrived`](Self::headers_arrived) was told of it.
    pub(super) fn end_call(&self, outcome: Outcome, took: Duration, headers: bool, now: Instant) {
        let (gauge, clock) = (self.seat.gauge(), self.seat.clock());
        let micros = clock.micros(now);
        // Before the first success nobody knows what fast is.
        let mean = self.set.mean_success_time();
        match outcome {
            Outcome::Success => {
                if !headers {
                    gauge.latency.observe(took, micros);
                }
                if self.succeeded.fetch_add(1, Relaxed).is_multiple_of(SET_SAMPLING) {
                    self.set.observe(took);
                }
            }
            Outcome::Failure => {
                let hold = self.set.hold();
                if mean.is_some() {
                    let unanswered = if headers { Duration::ZERO } else { took };
                    gauge.latency.observe_at_least(unanswered.max(hold), micros);
                }
                if let Some(expiry) =
                    self.holds.add(micros, micros.saturating_sub(whole_micros(took)), whole_micros(hold))
                {
                    gauge.hold_until(expiry);
                }
                self.failed.fetch_add(1, Relaxed);
            }
            Outcome::Cancelled => {
                // Less than the mean says nothing, and must not be the first that is known of an endpoint.
                if !headers && mean.is_some_and(|mean| took > mean) {
                    gauge.latency.observe_at_least(took, micros);
                }
                self.cancelled.fetch_add(1, Relaxed);
            }
        }
        // The hold is there before the call is gone: nobody sees the endpoint without both.
        gauge.end_call();
    }
}

/// Calls in flight, and failures that are held, for which the whole load is looked up only when there may be any.
pub(super) fn pending<'a>(gauge: &Gauge, clock: Clock, now: Instant, load: impl FnOnce() -> &'a Load) -> u64 {
    // In this order a failure that ends meanwhile may count twice for a moment, and is never missed.
    let in_flight = u64::from(gauge.in_flight());
    if gauge.never_held() {
        return in_flight;
    }
    let now = clock.micros(now);
    if gauge.may_hold(now) { in_flight + load().holds.count(now) } else { in_flight }
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use super::*;
    use crate::load::InFlight;

    #[test]
    fn an_idle_load_is_small() {
        // Sixteen bytes more are in the set's pages.
        assert!(size_of::<Load>() <= 288, "{}", size_of::<Load>());
        assert!(size_of::<InFlight>() <= 32, "{}", size_of::<InFlight>());
    }
}
