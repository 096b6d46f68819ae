//! The two rules that compare endpoints at a sweep, and their numbers.

/// Ejects endpoints whose success rate is too far below the mean (A50's `success_rate_ejection`).
///
/// An endpoint is an outlier when its success rate is below `mean - stdev * stdev_factor / 1000`, over the endpoints
/// that had enough calls in the interval, where `stdev` is the standard deviation of that whole population. One
/// outlier among `n` endpoints that are alike is `sqrt(n - 1)` deviations below the mean, however small the difference
/// is: with the factor of 1900 it stands out from five endpoints on, and among four it never does.
///
/// However small the difference is: if nothing else fails, one failed call out of a thousand makes an outlier. A50
/// and Envoy live with that; [`new`](Self::new) asks for a [`margin`](Self::margin) too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuccessRate {
    pub(super) stdev_factor: u32,
    pub(super) enforcement: u32,
    pub(super) min_hosts: u32,
    pub(super) volume: u64,
    pub(super) margin: u32,
}

impl SuccessRate {
    /// The numbers of A50, and a margin of 5 percentage points.
    #[must_use]
    pub const fn new() -> Self {
        Self { margin: 5, ..Self::a50() }
    }

    /// The numbers of A50 alone.
    #[must_use]
    pub const fn a50() -> Self {
        Self { stdev_factor: 1900, enforcement: 100, min_hosts: 5, volume: 100, margin: 0 }
    }

    /// How many thousandths of a standard deviation below the mean an outlier is. Default 1900, as A50.
    #[must_use]
    pub const fn stdev_factor(mut self, thousandths: u32) -> Self {
        self.stdev_factor = thousandths;
        self
    }

    /// The chance, in percent, that an outlier is indeed ejected. Default 100, as A50; at most 100. 0 ejects nothing.
    #[must_use]
    pub const fn enforcement(mut self, percent: u32) -> Self {
        self.enforcement = percent;
        self
    }

    /// How many endpoints must have had enough calls in an interval for the rule to apply. Default 5, as A50.
    #[must_use]
    pub const fn min_hosts(mut self, hosts: u32) -> Self {
        self.min_hosts = hosts;
        self
    }

    /// How many calls in one interval are enough to judge an endpoint by. Default 100, as A50; at least 1.
    #[must_use]
    pub const fn volume(mut self, calls: u64) -> Self {
        self.volume = calls;
        self
    }

    /// How many percentage points below the mean an outlier is at least, whatever the deviation. Default 5, and 0 for
    /// [`a50`](Self::a50), which does not know it; at most 100.
    ///
    /// It keeps a healthy endpoint from being ejected for the only failed call of an interval, and weighs nothing
    /// once failures are common: at a shared rate of 10 % and 100 calls each, chance alone makes the deviation 3 points.
    #[must_use]
    pub const fn margin(mut self, points: u32) -> Self {
        self.margin = points;
        self
    }
}

impl Default for SuccessRate {
    fn default() -> Self {
        Self::new()
    }
}

/// Ejects endpoints of whose calls too large a part failed (A50's `failure_percentage_ejection`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailurePercentage {
    pub(super) threshold: u32,
    pub(super) enforcement: u32,
    pub(super) min_hosts: u32,
    pub(super) volume: u64,
}

impl FailurePercentage {
    /// The numbers of A50.
    #[must_use]
    pub const fn new() -> Self {
        Self { threshold: 85, enforcement: 100, min_hosts: 5, volume: 50 }
    }

    /// The percentage of failed calls *above* which an endpoint is an outlier. Default 85, as A50; at most 100, and
    /// then nothing is one.
    #[must_use]
    pub const fn threshold(mut self, percent: u32) -> Self {
        self.threshold = percent;
        self
    }

    /// The chance, in percent, that an outlier is indeed ejected. Default 100, as A50; at most 100. 0 ejects nothing.
    #[must_use]
    pub const fn enforcement(mut self, percent: u32) -> Self {
        self.enforcement = percent;
        self
    }

    /// How many endpoints must have had enough calls in an interval for the rule to apply. Default 5, as A50.
    #[must_use]
    pub const fn min_hosts(mut self, hosts: u32) -> Self {
        self.min_hosts = hosts;
        self
    }

    /// How many calls in one interval are enough to judge an endpoint by. Default 50, as A50; at least 1.
    #[must_use]
    pub const fn volume(mut self, calls: u64) -> Self {
        self.volume = calls;
        self
    }
}

impl Default for FailurePercentage {
    fn default() -> Self {
        Self::new()
    }
}
