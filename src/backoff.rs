//! How long to wait before the next attempt to connect.
//!
//! A backend that is down must be tried for ever, and neither hammered nor forgotten. The schedule is gRPC's
//! ([connection-backoff](https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md)): the second attempt
//! starts exactly one second after the first one started, and each further delay is 1.6 times the one before, up to
//! two minutes, moved by a random fifth so that clients which lost the same backend do not come back together.
//!
//! Delays run from the *start* of an attempt, so that an attempt which hangs for its whole connect timeout is not
//! followed by another wait. Call [`Delays::reset`] when the peer's SETTINGS arrive, not when TCP connects: a
//! listener that accepts and closes would be hammered.
//!
//! ```
//! use std::time::Duration;
//! use grpc_balance::{backoff::Backoff, random::Random};
//! use tokio::time::Instant;
//!
//! let mut delays = Backoff::default().delays();
//! let started = Instant::now();
//! let next = delays.next_attempt_after(started, &Random::from_os());
//! assert_eq!(next - started, Duration::from_secs(1), "the first delay is exact");
//!
//! let brisk = Backoff::builder().initial(Duration::from_millis(100)).max(Duration::from_secs(5)).build()?;
//! assert_eq!(brisk.initial(), Duration::from_millis(100));
//! # Ok::<(), grpc_balance::backoff::InvalidBackoff>(())
//! ```

use std::{fmt, time::Duration};

use tokio::time::Instant;

use crate::random::Random;

/// The longest delay that can be asked for: one day.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A schedule of delays between attempts to connect; the state is in [`Delays`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    initial: Duration,
    multiplier: f64,
    jitter: f64,
    max: Duration,
}

impl Backoff {
    /// Starts from the defaults.
    pub fn builder() -> BackoffBuilder {
        BackoffBuilder { backoff: Self::default() }
    }

    /// The delay after the first attempt, which is not moved by jitter.
    #[must_use]
    pub fn initial(&self) -> Duration {
        self.initial
    }

    /// The factor from one delay to the next.
    #[must_use]
    pub fn multiplier(&self) -> f64 {
        self.multiplier
    }

    /// The share of a delay by which it may be moved either way.
    #[must_use]
    pub fn jitter(&self) -> f64 {
        self.jitter
    }

    /// Where delays stop growing. Jitter comes on top of it.
    #[must_use]
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The state of one endpoint that follows this schedule, at its start.
    #[must_use]
    pub fn delays(&self) -> Delays {
        Delays { backoff: *self, current: None }
    }
}

impl Default for Backoff {
    /// gRPC's schedule: 1 s, x1.6, up to 120 s, ±20 %.
    fn default() -> Self {
        Self { initial: Duration::from_secs(1), multiplier: 1.6, jitter: 0.2, max: Duration::from_secs(120) }
    }
}

/// Configures a [`Backoff`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct BackoffBuilder {
    backoff: Backoff,
}

impl BackoffBuilder {
    /// The delay after the first attempt. Default 1 s, as gRPC; must be above zero and at most [`max`](Self::max).
    pub fn initial(mut self, initial: Duration) -> Self {
        self.backoff.initial = initial;
        self
    }

    /// The factor from one delay to the next. Default 1.6, as gRPC; must be at least 1.
    pub fn multiplier(mut self, multiplier: f64) -> Self {
        self.backoff.multiplier = multiplier;
        self
    }

    /// The share of a delay by which it is moved at random, either way. Default 0.2, as gRPC; must be at least 0
    /// and below 1. The first delay is never moved.
    pub fn jitter(mut self, jitter: f64) -> Self {
        self.backoff.jitter = jitter;
        self
    }

    /// Where delays stop growing, before jitter. Default 120 s, as gRPC; at most one day.
    pub fn max(mut self, max: Duration) -> Self {
        self.backoff.max = max;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`InvalidBackoff`] names the setting that is out of its range.
    pub fn build(self) -> Result<Backoff, InvalidBackoff> {
        let Backoff { initial, multiplier, jitter, max } = self.backoff;
        if max > LONGEST {
            Err(InvalidBackoff { setting: "max", expected: "at most one day" })
        } else if initial.is_zero() || initial > max {
            Err(InvalidBackoff { setting: "initial", expected: "above zero and at most `max`" })
        } else if !multiplier.is_finite() || multiplier < 1.0 {
            Err(InvalidBackoff { setting: "multiplier", expected: "a finite number of at least 1" })
        } else if !(0.0..1.0).contains(&jitter) {
            Err(InvalidBackoff { setting: "jitter", expected: "at least 0 and below 1" })
        } else {
            Ok(self.backoff)
        }
    }
}

/// A setting of a [`Backoff`] that is out of its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidBackoff {
    setting: &'static str,
    expected: &'static str,
}

impl fmt::Display for InvalidBackoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "backoff `{}` is out of range: expected {}", self.setting, self.expected)
    }
}

impl std::error::Error for InvalidBackoff {}

/// Where one endpoint stands on its schedule.
#[derive(Clone, Debug)]
pub struct Delays {
    backoff: Backoff,
    /// The last delay before jitter; `None` before the first.
    current: Option<Duration>,
}

impl Delays {
    /// When the attempt after the one that began at `started` may begin, and moves one step along the schedule.
    ///
    /// The instant may have passed already, when the attempt itself took longer than the delay.
    pub fn next_attempt_after(&mut self, started: Instant, random: &Random) -> Instant {
        let Backoff { initial, multiplier, jitter, max } = self.backoff;
        let (base, delay) = match self.current {
            None => (initial, initial),
            Some(current) => {
                // Both factors are finite and the cap is a day, so the products are in the range of a `Duration`.
                let base = (current.as_secs_f64() * multiplier).min(max.as_secs_f64());
                let moved = base * (1.0 + jitter * (2.0 * random.unit() - 1.0));
                (Duration::from_secs_f64(base), Duration::from_secs_f64(moved))
            }
        };
        self.current = Some(base);
        // A delay is at most two days: no clock is that close to its end.
        started.checked_add(delay).unwrap_or(started)
    }

    /// Goes back to the start: the peer's SETTINGS arrived.
    pub fn reset(&mut self) {
        self.current = None;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gaps(backoff: Backoff, seed: u64, count: usize) -> Vec<f64> {
        let (mut delays, random) = (backoff.delays(), Random::seeded(seed));
        let started = Instant::now();
        (0..count).map(|_| (delays.next_attempt_after(started, &random) - started).as_secs_f64()).collect()
    }

    #[test]
    fn follows_the_curve_of_grpc() {
        for seed in 0..200 {
            let gaps = gaps(Backoff::default(), seed, 15);
            assert_eq!(gaps[0], 1.0, "the first delay is not moved");
            let mut base: f64 = 1.0;
            for gap in &gaps[1..] {
                base = (base * 1.6).min(120.0);
                assert!((gap / base - 1.0).abs() <= 0.2 + 1e-9, "{gap} is not {base} ±20 %");
            }
        }
    }

    #[test]
    fn spreads_clients_over_the_whole_jitter() {
        let seconds: Vec<f64> = (0..1_000).map(|seed| gaps(Backoff::default(), seed, 2)[1]).collect();
        let (low, high) = seconds.iter().fold((f64::MAX, f64::MIN), |(l, h), &s| (l.min(s), h.max(s)));
        assert!(low < 1.6 * 0.81 && high > 1.6 * 1.19, "{low}..{high}");
    }

    #[tokio::test(start_paused = true)]
    async fn measures_from_the_start_of_an_attempt_not_from_its_end() {
        let mut delays = Backoff::builder().jitter(0.0).build().unwrap().delays();
        let random = Random::seeded(1);
        let started = Instant::now();
        tokio::time::sleep(Duration::from_millis(700)).await;
        let next = delays.next_attempt_after(started, &random);
        assert_eq!(next - Instant::now(), Duration::from_millis(300));
        tokio::time::sleep_until(next).await;
        let started = Instant::now();
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(
            delays.next_attempt_after(started, &random) < Instant::now(),
            "a slow attempt used its delay up"
        );
    }

    #[test]
    fn starts_over_after_a_reset() {
        let (mut delays, random, now) = (Backoff::default().delays(), Random::seeded(1), Instant::now());
        for _ in 0..10 {
            delays.next_attempt_after(now, &random);
        }
        delays.reset();
        assert_eq!(delays.next_attempt_after(now, &random) - now, Duration::from_secs(1));
    }

    #[test]
    fn rejects_settings_out_of_range_by_name() {
        let second = Duration::from_secs(1);
        for (builder, name) in [
            (Backoff::builder().initial(Duration::ZERO), "initial"),
            (Backoff::builder().initial(second * 9).max(second), "initial"),
            (Backoff::builder().multiplier(0.9), "multiplier"),
            (Backoff::builder().multiplier(f64::NAN), "multiplier"),
            (Backoff::builder().multiplier(f64::INFINITY), "multiplier"),
            (Backoff::builder().jitter(1.0), "jitter"),
            (Backoff::builder().jitter(-0.1), "jitter"),
            (Backoff::builder().jitter(f64::NAN), "jitter"),
            (Backoff::builder().max(Duration::MAX), "max"),
        ] {
            let error = builder.build().unwrap_err();
            assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_valid_schedule_stays_between_its_bounds(
            initial in 1u64..10_000, max in 10_000u64..86_400_000, multiplier in 1.0..1e300, jitter in 0.0..0.999,
            seed: u64,
        ) {
            let backoff = Backoff::builder()
                .initial(Duration::from_millis(initial)).max(Duration::from_millis(max))
                .multiplier(multiplier).jitter(jitter).build().unwrap();
            for gap in gaps(backoff, seed, 20) {
                prop_assert!(gap >= initial as f64 / 1e3 * (1.0 - jitter) - 1e-6);
                prop_assert!(gap <= max as f64 / 1e3 * (1.0 + jitter) + 1e-6);
            }
        }
    }
}
