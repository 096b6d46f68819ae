//! What becomes of calls when hardly any endpoint is healthy.

/// Decides when health is ignored, because too few endpoints are healthy for it to be believed.
///
/// If the health check is wrong, or the pods that are left cannot carry the load of all, then keeping to the healthy
/// ones makes an outage of a nuisance. So below a threshold calls go to every endpoint that is ready, healthy or not:
/// Envoy's *panic mode*. Or they fail at once: [`fail_fast`](Self::fail_fast).
///
/// ```
/// use grpc_balance::health::Panic;
///
/// let panic = Panic::default();
/// assert!(!panic.is_panic(2, 4), "half of them are enough");
/// assert!(panic.is_panic(1, 4));
/// assert!(!Panic::fail_fast().is_panic(0, 4));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panic {
    /// Panic below this percentage: never, if it is 0.
    percent: u32,
}

impl Panic {
    /// Ignores health while *less* than this percentage of the endpoints is healthy (Envoy's
    /// `healthy_panic_threshold`). The default is 50. More than 100 counts as 100: whenever one is not healthy.
    #[must_use]
    pub const fn below(percent: u32) -> Self {
        Self { percent: if percent > 100 { 100 } else { percent } }
    }

    /// Never ignores health: without a healthy endpoint calls fail at once.
    #[must_use]
    pub const fn fail_fast() -> Self {
        Self { percent: 0 }
    }

    /// Whether health is to be ignored, with this many endpoints healthy of `judged`: those that are in the set now and
    /// have had their first verdict. Of none, it is not: they are about to be judged.
    #[must_use]
    pub const fn is_panic(self, healthy: usize, judged: usize) -> bool {
        (healthy as u128) * 100 < (self.percent as u128) * (judged as u128)
    }
}

impl Default for Panic {
    /// Below 50 %, as Envoy.
    fn default() -> Self {
        Self::below(50)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_begins_strictly_below_the_threshold() {
        for (percent, healthy, judged, panic) in [
            (50, 2, 4, false), // As observed of Envoy 1.40: exactly half is not panic.
            (50, 1, 4, true),
            (50, 0, 4, true),
            (50, 3, 7, true),
            (50, 4, 7, false),
            (50, 0, 1, true),
            (50, 1, 1, false),
            (34, 1, 3, true), // A third is less than 34 %: no rounding to whole percentages.
            (33, 1, 3, false),
            (100, 9_999, 10_000, true),
            (100, 5, 5, false),
            (1_000, 5, 5, false),
            (0, 0, 5, false),
        ] {
            assert_eq!(
                Panic::below(percent).is_panic(healthy, judged),
                panic,
                "{healthy}/{judged} at {percent} %"
            );
        }
    }

    #[test]
    fn nothing_judged_is_no_panic() {
        assert!(!Panic::below(100).is_panic(0, 0));
    }

    #[test]
    fn failing_fast_never_ignores_health() {
        assert!(!Panic::fail_fast().is_panic(0, usize::MAX));
        assert!(Panic::default().is_panic(usize::MAX / 2, usize::MAX), "and nothing overflows");
    }
}
