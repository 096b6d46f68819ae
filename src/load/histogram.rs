//! How long calls took, as a histogram.

use std::{
    array,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Each power of two of microseconds is cut into this many buckets of one width, so that the middle of a bucket is off
/// by an eighth at most.
const STEPS: u64 = 4;
/// From below 1 us to 134 s; longer calls count as that.
const BUCKETS: usize = 104;

/// A log-linear histogram of durations; recording is one relaxed add.
#[derive(Debug)]
pub(super) struct Histogram([AtomicU64; BUCKETS]);

impl Histogram {
    pub(super) fn new() -> Self {
        Self(array::from_fn(|_| AtomicU64::new(0)))
    }

    pub(super) fn record(&self, duration: Duration) {
        let bucket = bucket_of(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
        if let Some(count) = self.0.get(bucket).or(self.0.last()) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn snapshot(&self) -> Latencies {
        let mut counts: Vec<u64> = self.0.iter().map(|count| count.load(Relaxed)).collect();
        let used = counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        counts.truncate(used);
        Latencies { counts: counts.into() }
    }
}

/// How long calls took: the distribution of the time from the pick to the end of the stream.
///
/// Between 4 us and 2 min quantiles are off by an eighth at most. The counts grow for ever; [`since`](Self::since) cuts a window out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// Without trailing zeros.
    counts: Box<[u64]>,
}

impl Latencies {
    /// How many calls were timed.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The time within which this share of the calls ended: 0.5 for the median, 0.99 for p99. `None` before any did.
    ///
    /// Shares outside `0.0..=1.0` are cut to it.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        let rank = ((share.clamp(0.0, 1.0) * total as f64).ceil() as u64).clamp(1, total);
        let mut below = 0;
        let bucket = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        let (lower, upper) = bounds(bucket);
        Some(Duration::from_nanos((lower + upper) * 1_000 / 2))
    }

    /// The calls that ended after an earlier reading of the same endpoint.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |bucket| earlier.counts.get(bucket).copied().unwrap_or(0);
        let counts = self
            .counts
            .iter()
            .enumerate()
            .map(|(bucket, count)| count.saturating_sub(before(bucket)))
            .collect();
        Self { counts }
    }

    /// The calls of both, as if they had been on one endpoint.
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        let (longer, shorter) =
            if self.counts.len() >= other.counts.len() { (self, other) } else { (other, self) };
        let mut counts = longer.counts.clone();
        for (sum, count) in counts.iter_mut().zip(&shorter.counts) {
            *sum += count;
        }
        Self { counts }
    }
}

fn bucket_of(micros: u64) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    let power = u64::from(micros.ilog2());
    let step = (micros >> (power - 2)) % STEPS;
    ((power - 1) * STEPS + step) as usize
}

/// The microseconds from which and up to which a bucket counts.
fn bounds(bucket: usize) -> (u64, u64) {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return (bucket, bucket + 1);
    }
    let (power, step) = (bucket / STEPS + 1, bucket % STEPS);
    ((STEPS + step) << (power - 2), (STEPS + step + 1) << (power - 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(millis: impl IntoIterator<Item = u64>) -> Latencies {
        let histogram = Histogram::new();
        millis.into_iter().for_each(|millis| histogram.record(Duration::from_millis(millis)));
        histogram.snapshot()
    }

    #[test]
    fn buckets_follow_one_another_without_gap() {
        for bucket in 0..BUCKETS {
            let (lower, upper) = bounds(bucket);
            assert_eq!(bucket_of(lower), bucket);
            assert_eq!(bucket_of(upper - 1), bucket);
            assert_eq!(bucket_of(upper), bucket + 1);
        }
        assert!(bounds(BUCKETS - 1).1 > 130_000_000);
    }

    #[test]
    fn nothing_has_no_quantiles() {
        assert_eq!(of([]).quantile(0.5), None);
        assert_eq!(of([]).count(), 0);
    }

    #[test]
    fn quantiles_are_right_within_an_eighth() {
        let latencies = of(1..=1000);
        for (share, millis) in [(0.0, 1.0), (0.5, 500.0), (0.9, 900.0), (0.99, 990.0), (1.0, 1000.0)] {
            let read = latencies.quantile(share).unwrap().as_secs_f64() * 1e3;
            assert!((read / millis - 1.0).abs() <= 0.125, "{share}: {read} for {millis}");
        }
    }

    #[test]
    fn a_slow_hundredth_shows_in_the_last_quantile_only() {
        let latencies = of((0..1000).map(|call| if call < 10 { 5_000 } else { 1 }));
        assert!(latencies.quantile(0.99) < Some(Duration::from_millis(2)));
        assert!(latencies.quantile(0.991) > Some(Duration::from_secs(4)));
    }

    #[test]
    fn endless_calls_count_as_the_longest() {
        let histogram = Histogram::new();
        histogram.record(Duration::MAX);
        assert!(histogram.snapshot().quantile(1.0) > Some(Duration::from_secs(110)));
    }

    #[test]
    fn a_window_holds_what_ended_since() {
        let histogram = Histogram::new();
        (0..100).for_each(|_| histogram.record(Duration::from_millis(1)));
        let earlier = histogram.snapshot();
        (0..10).for_each(|_| histogram.record(Duration::from_secs(1)));
        let window = histogram.snapshot().since(&earlier);
        assert_eq!(window.count(), 10);
        assert!(window.quantile(0.01) > Some(Duration::from_millis(800)));
    }

    proptest! {
        #[test]
        fn every_duration_lands_in_the_bucket_that_holds_it(micros in 0..130_000_000u64) {
            let (lower, upper) = bounds(bucket_of(micros));
            prop_assert!((lower..upper).contains(&micros));
            prop_assert!((upper - lower) * STEPS <= lower.max(STEPS));
        }

        #[test]
        fn merging_adds_up(a in prop::collection::vec(0..200_000u64, 0..50), b in prop::collection::vec(0..200_000u64, 0..50)) {
            let both = of(a.iter().chain(&b).copied());
            prop_assert_eq!(of(a.clone()).merge(&of(b.clone())), both.clone());
            prop_assert_eq!(of(b).merge(&of(a)), both);
        }
    }
}
