//! A moving average that goes up at once and comes down slowly.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use super::{clock::Micros, sync::AtomicU64};

/// The time constant: after this long without a sample an estimate has fallen to 37 %. Ten seconds, as in Finagle,
/// linkerd and tower's examples: long against a call, short against a deployment.
const DECAY_MILLIS: f32 = 10_000.0;

/// A peak-sensitive, exponentially weighted moving average of a time, and when it was last touched, in one word.
///
/// A sample above the estimate replaces it (the *peak*, after Finagle's `p2c` with peak EWMA); one below draws it
/// down, the more so the longer ago the last one was. A read decays the estimate towards zero without storing that, so
/// that an endpoint which nobody calls for its one slow answer is tried again in time.
#[derive(Debug, Default)]
pub(super) struct PeakEwma(AtomicU64);

/// An estimate in seconds as `f32`, above zero, and a stamp in milliseconds that wraps after 49 days.
#[derive(Clone, Copy)]
struct Estimate {
    seconds: f32,
    stamp: u32,
}

impl Estimate {
    fn unpack(word: u64) -> Option<Self> {
        (word != 0).then(|| Self { seconds: f32::from_bits((word >> 32) as u32), stamp: word as u32 })
    }

    fn pack(self) -> u64 {
        // Not even an instant answer may look like no answer at all.
        u64::from(self.seconds.max(1e-9).to_bits()) << 32 | u64::from(self.stamp)
    }

    /// What is left of it at `stamp`, as a share.
    fn remains(self, stamp: u32) -> f32 {
        // A thread may come with a slightly older time than another: that is no age of 49 days.
        let age = (stamp.wrapping_sub(self.stamp) as i32).max(0);
        (-(age as f32) / DECAY_MILLIS).exp()
    }
}

impl PeakEwma {
    /// Takes in a sample.
    pub(super) fn observe(&self, sample: Duration, now: Micros) {
        let (sample, stamp) = (sample.as_secs_f32(), stamp(now));
        self.update(|estimate| match estimate {
            Some(last) if last.seconds > sample => {
                let remains = last.remains(stamp);
                (remains < 1.0)
                    .then_some(Estimate { seconds: last.seconds * remains + sample * (1.0 - remains), stamp })
            }
            _ => Some(Estimate { seconds: sample, stamp }),
        });
    }

    /// Takes in a sample of which only a lower bound is known: it can raise the estimate, and never lowers it.
    pub(super) fn observe_at_least(&self, bound: Duration, now: Micros) {
        let (bound, stamp) = (bound.as_secs_f32(), stamp(now));
        self.update(|estimate| match estimate {
            Some(last) if last.seconds * last.remains(stamp) >= bound => None,
            _ => Some(Estimate { seconds: bound, stamp }),
        });
    }

    /// The estimate in seconds, decayed to `now`; `None` before the first sample.
    pub(super) fn seconds(&self, now: Micros) -> Option<f32> {
        let last = Estimate::unpack(self.0.load(Relaxed))?;
        Some(last.seconds * last.remains(stamp(now)))
    }

    /// Forgets every sample.
    pub(super) fn reset(&self) {
        self.0.store(0, Relaxed);
    }

    fn update(&self, next: impl Fn(Option<Estimate>) -> Option<Estimate>) {
        // Nothing to store, when `next` says so, is no failure.
        let _ =
            self.0.fetch_update(Relaxed, Relaxed, |word| next(Estimate::unpack(word)).map(Estimate::pack));
    }
}

/// Milliseconds, wrapping.
fn stamp(now: Micros) -> u32 {
    (now / 1_000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Micros = 1_000_000;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn millis(estimate: &PeakEwma, now: Micros) -> f32 {
        estimate.seconds(now).expect("a sample was taken in") * 1e3
    }

    #[test]
    fn knows_nothing_before_the_first_sample() {
        assert_eq!(PeakEwma::default().seconds(SECOND), None);
    }

    #[test]
    fn goes_up_at_once_and_comes_down_slowly() {
        let estimate = PeakEwma::default();
        estimate.observe(ms(10), SECOND);
        estimate.observe(ms(200), 2 * SECOND);
        assert!((millis(&estimate, 2 * SECOND) - 200.0).abs() < 0.1);
        // One second is a tenth of the constant: e^-0.1 = 0.905 of the peak is left beside 0.095 of the sample.
        estimate.observe(ms(10), 3 * SECOND);
        assert!((millis(&estimate, 3 * SECOND) - 181.9).abs() < 0.5);
    }

    #[test]
    fn decays_towards_zero_while_nothing_is_known() {
        let estimate = PeakEwma::default();
        estimate.observe(ms(100), 0);
        assert!((millis(&estimate, 10 * SECOND) - 36.8).abs() < 0.1);
        assert!((millis(&estimate, 0) - 100.0).abs() < 0.1, "a read stores nothing");
    }

    #[test]
    fn a_lower_bound_never_lowers() {
        let estimate = PeakEwma::default();
        estimate.observe(ms(100), 0);
        estimate.observe_at_least(ms(1), 5 * SECOND);
        assert!((millis(&estimate, 0) - 100.0).abs() < 0.1);
        estimate.observe_at_least(ms(70), 5 * SECOND);
        assert!((millis(&estimate, 5 * SECOND) - 70.0).abs() < 0.1, "60.7 ms were left");
    }

    #[test]
    fn many_samples_in_one_millisecond_weigh_no_more_than_the_millisecond() {
        let estimate = PeakEwma::default();
        estimate.observe(ms(100), 0);
        for micros in 0..1_500 {
            estimate.observe(ms(0), micros);
        }
        assert!(millis(&estimate, 1_500) > 99.9);
    }

    #[test]
    fn an_older_time_is_no_great_age_and_the_stamp_may_wrap() {
        let estimate = PeakEwma::default();
        estimate.observe(ms(100), 10 * SECOND);
        assert!((millis(&estimate, 9 * SECOND) - 100.0).abs() < 0.1);
        let wrap = (u64::from(u32::MAX) - 4_999) * 1_000;
        let estimate = PeakEwma::default();
        estimate.observe(ms(100), wrap);
        assert!((millis(&estimate, wrap + 10 * SECOND) - 36.8).abs() < 0.1);
    }
}
