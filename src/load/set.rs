//! What the endpoints of one set have in common.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use super::{gauge::Pages, sync::AtomicU64};

const SHORTEST_HOLD: Duration = Duration::from_millis(1);
const LONGEST_HOLD: Duration = Duration::from_secs(1);

/// What the endpoints of one set share: the mean time of a successful call, from the pick to the end of the stream.
#[derive(Debug, Default)]
pub struct SetLoad {
    /// Nanoseconds; zero before the first success.
    mean: AtomicU64,
    pub(super) pages: Arc<Pages>,
}

impl SetLoad {
    /// A set in which no call has succeeded yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The moving mean of the times of successful calls, each sample weighing an eighth; `None` before the first one.
    ///
    /// Of each endpoint's successes one in eight is sampled, its first one included.
    #[must_use]
    pub fn mean_success_time(&self) -> Option<Duration> {
        let nanos = self.mean.load(Relaxed);
        (nanos != 0).then_some(Duration::from_nanos(nanos))
    }

    /// How long after its pick a failed call counts as pending: twice the mean success time, at least 1 ms and at
    /// most 1 s; 1 s while nothing has succeeded.
    #[must_use]
    pub fn hold(&self) -> Duration {
        self.mean_success_time()
            .map_or(LONGEST_HOLD, |mean| mean.saturating_mul(2).clamp(SHORTEST_HOLD, LONGEST_HOLD))
    }

    /// Takes in the time of a successful call.
    ///
    /// Two threads at once may lose one of two samples. That costs the mean nothing, and an exact sum would cost
    /// every call a wait for the other.
    pub(super) fn observe(&self, sample: Duration) {
        let sample = u64::try_from(sample.as_nanos()).unwrap_or(u64::MAX).max(1);
        let mean = match self.mean.load(Relaxed) {
            0 => sample,
            mean => mean - mean / 8 + sample / 8,
        };
        self.mean.store(mean.max(1), Relaxed);
    }
}
