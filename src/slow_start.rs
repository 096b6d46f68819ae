//! Slow start: a new endpoint gets its share of calls little by little.
//!
//! A process that has just started compiles, fills its caches and opens its connections. With its full share of calls
//! at once it is slow or falls over; and under a policy that looks for the least loaded endpoint it gets *more* than
//! its share, because it has nothing to do yet. So its weight begins at a tenth and grows over a window, by the formula
//! of Envoy's `slow_start_config`:
//!
//! ```text
//! weight x max(min_weight_percent / 100, (time since it is ready / window) ^ (1 / aggression))
//! ```
//!
//! When all endpoints are new, there is nobody to take the calls instead, and nothing to be slowed: whoever applies
//! this leaves it out then.
//!
//! ```
//! use std::time::Duration;
//! use grpc_balance::slow_start::SlowStart;
//!
//! let slow_start = SlowStart::over(Duration::from_secs(10));
//! let factors = [0, 5, 10, 99].map(|seconds| slow_start.factor(Duration::from_secs(seconds)));
//! assert_eq!(factors, [0.1, 0.5, 1.0, 1.0]);
//!
//! let error = slow_start.aggression(0.0).check().unwrap_err();
//! assert_eq!(error.to_string(), "slow start: `aggression` is out of range: expected a finite number above zero");
//! ```

use std::{fmt, time::Duration};

/// The longest window that can be asked for: one day.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The shortest time that counts, as in Envoy: with a minimal weight of 0, an endpoint that got none at all would
/// never be seen by a policy that leaves out what weighs nothing.
const SHORTEST: Duration = Duration::from_millis(1);

/// How the weight of a new endpoint grows; see the [module](crate::slow_start).
///
/// The setters accept anything; [`check`](Self::check) tells what is out of its range, and so does whatever takes the
/// settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    window: Duration,
    aggression: f64,
    min_weight_percent: u32,
}

impl SlowStart {
    /// Grows over this time (Envoy's `slow_start_window`): above zero, and at most one day.
    #[must_use]
    pub const fn over(window: Duration) -> Self {
        Self { window, aggression: 1.0, min_weight_percent: 10 }
    }

    /// How fast the weight grows at the beginning (Envoy's `aggression`). Default 1: in proportion to time. Above it
    /// most of the growth comes early, below it late. A finite number above zero.
    #[must_use]
    pub const fn aggression(mut self, aggression: f64) -> Self {
        self.aggression = aggression;
        self
    }

    /// The percentage of its weight that an endpoint begins with (Envoy's `min_weight_percent`). Default 10, as Envoy;
    /// at most 100.
    #[must_use]
    pub const fn min_weight_percent(mut self, percent: u32) -> Self {
        self.min_weight_percent = percent;
        self
    }
}

impl SlowStart {
    /// Tells the first setting that is out of its range.
    ///
    /// # Errors
    ///
    /// [`InvalidSlowStart`] names the setting and what was expected.
    pub fn check(&self) -> Result<(), InvalidSlowStart> {
        let (setting, expected) = if self.window.is_zero() || self.window > LONGEST {
            ("window", "above zero and at most one day")
        } else if !self.aggression.is_finite() || self.aggression <= 0.0 {
            ("aggression", "a finite number above zero")
        } else if self.min_weight_percent > 100 {
            ("min_weight_percent", "at most 100")
        } else {
            return Ok(());
        };
        Err(InvalidSlowStart { setting, expected })
    }

    /// The time over which the weight grows.
    #[must_use]
    pub fn window(&self) -> Duration {
        self.window
    }

    /// Whether an endpoint that has been ready for this long has its full weight.
    #[must_use]
    pub fn is_over(&self, elapsed: Duration) -> bool {
        elapsed >= self.window
    }

    /// What to multiply the weight with of an endpoint that has been ready for this long: from 0 to 1, and above 0 if
    /// the settings are in their ranges.
    #[must_use]
    pub fn factor(&self, elapsed: Duration) -> f64 {
        let elapsed = elapsed.max(SHORTEST);
        if self.is_over(elapsed) {
            return 1.0;
        }
        let time = elapsed.as_secs_f64() / self.window.as_secs_f64();
        let grown = time.powf(1.0 / self.aggression);
        // `max` and `min` pass by a NaN.
        grown.max(f64::from(self.min_weight_percent) / 100.0).min(1.0)
    }
}

/// A setting of a [`SlowStart`] that is out of its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSlowStart {
    setting: &'static str,
    expected: &'static str,
}

impl fmt::Display for InvalidSlowStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slow start: `{}` is out of range: expected {}", self.setting, self.expected)
    }
}

impl std::error::Error for InvalidSlowStart {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    #[test]
    fn the_weight_follows_envoys_formula() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        for (aggression, millis, expected) in [
            (1.0, 0, 0.1),
            (1.0, 900, 0.1),
            (1.0, 2_500, 0.25),
            (1.0, 9_999, 0.9999),
            (2.0, 2_500, 0.5),  // The square root: early.
            (0.5, 5_000, 0.25), // The square: late.
            (0.5, 2_000, 0.1),
            (2.0, 10_000, 1.0),
        ] {
            let factor = SlowStart::over(TEN).aggression(aggression).factor(Duration::from_millis(millis));
            assert!(close(factor, expected), "{millis} ms at {aggression}: {factor}");
        }
        let bare = SlowStart::over(TEN).min_weight_percent(0).factor(Duration::ZERO);
        assert!(close(bare, 1e-4), "as if a millisecond had passed: {bare}");
    }

    #[test]
    fn settings_out_of_range_are_told_by_name() {
        let ten = SlowStart::over(TEN);
        assert_eq!(ten.check(), Ok(()));
        for (settings, name) in [
            (SlowStart::over(Duration::ZERO), "window"),
            (SlowStart::over(Duration::MAX), "window"),
            (ten.aggression(0.0), "aggression"),
            (ten.aggression(-1.0), "aggression"),
            (ten.aggression(f64::NAN), "aggression"),
            (ten.aggression(f64::INFINITY), "aggression"),
            (ten.min_weight_percent(101), "min_weight_percent"),
        ] {
            let error = settings.check().unwrap_err();
            assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn the_weight_never_shrinks_and_stays_between_its_bounds(
            window in 1u64..100_000, aggression in 0.01f64..100.0, min in 0u32..=100,
            mut times in proptest::collection::vec(0u64..200_000, 2..20),
        ) {
            let window = Duration::from_millis(window);
            let settings = SlowStart::over(window).aggression(aggression).min_weight_percent(min);
            times.sort_unstable();
            let mut last = f64::from(min) / 100.0;
            for elapsed in times.into_iter().map(Duration::from_millis) {
                let factor = settings.factor(elapsed);
                prop_assert!((last..=1.0).contains(&factor), "{factor} after {last}");
                prop_assert_eq!(settings.is_over(elapsed), elapsed >= window);
                prop_assert!(elapsed < window || factor == 1.0);
                last = factor;
            }
        }

        #[test]
        fn settings_that_nobody_checked_still_give_a_factor(
            window: u64, aggression: f64, min: u32, elapsed: u64,
        ) {
            let settings = SlowStart::over(Duration::from_nanos(window)).aggression(aggression).min_weight_percent(min);
            prop_assert!((0.0..=1.0).contains(&settings.factor(Duration::from_nanos(elapsed))));
        }
    }
}
