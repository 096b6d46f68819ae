//! How busy an endpoint is, counted from the pick to the end of the stream.
//!
//! (Skeleton: the fields and the doc comment grow with the implementation.)

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::grpc::Outcome;

/// Names one [`Load`] for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoadId(u64);

/// What the endpoints of one set share: the mean time of a successful call.
#[derive(Debug, Default)]
pub struct SetLoad {}

/// The load of one endpoint.
#[derive(Debug)]
pub struct Load {
    id: LoadId,
    in_flight: AtomicU64,
}

impl Load {
    /// The load of a new endpoint of a set.
    #[must_use]
    pub fn new(_set: Arc<SetLoad>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { id: LoadId(NEXT.fetch_add(1, Ordering::Relaxed)), in_flight: AtomicU64::new(0) }
    }

    /// Names this load.
    #[must_use]
    pub fn id(&self) -> LoadId {
        self.id
    }

    /// Calls that were picked and whose stream has not ended.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Calls that count as pending: those in flight, and failures that are still held against the endpoint.
    #[must_use]
    pub fn pending(&self, _now: Instant) -> u64 {
        self.in_flight()
    }

    /// The peak-sensitive moving average of the time to the first response frame; `None` before the first call.
    #[must_use]
    pub fn latency(&self, _now: Instant) -> Option<Duration> {
        None
    }
}

/// One call counted in a [`Load`], from the pick until this is finished or dropped.
#[derive(Debug)]
pub struct InFlight {
    load: Arc<Load>,
    picked_at: Instant,
}

impl InFlight {
    /// Counts a call that was picked just now.
    #[must_use]
    pub fn start(load: Arc<Load>, picked_at: Instant) -> Self {
        load.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { load, picked_at }
    }

    /// When the call was picked.
    #[must_use]
    pub fn picked_at(&self) -> Instant {
        self.picked_at
    }

    /// Notes that the response's headers arrived.
    pub fn headers_arrived(&mut self, _now: Instant) {}

    /// Ends the call with an outcome. Dropping it instead means that the caller gave up.
    pub fn finish(self, _outcome: Outcome, _now: Instant) {}
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.load.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
