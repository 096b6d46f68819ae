//! How many calls succeeded and failed.

/// How many calls to one endpoint succeeded and failed since it is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    succeeded: u64,
    failed: u64,
}

impl Counts {
    /// This many calls that [succeeded](crate::grpc::Outcome::Success) and that [failed](crate::grpc::Outcome::Failure).
    #[must_use]
    pub const fn new(succeeded: u64, failed: u64) -> Self {
        Self { succeeded, failed }
    }

    /// Calls that succeeded.
    #[must_use]
    pub const fn succeeded(self) -> u64 {
        self.succeeded
    }

    /// Calls that failed.
    #[must_use]
    pub const fn failed(self) -> u64 {
        self.failed
    }

    /// Calls that succeeded or failed: A50's *request volume*.
    #[must_use]
    pub const fn volume(self) -> u64 {
        self.succeeded.saturating_add(self.failed)
    }

    /// The share of calls that succeeded, from 0 to 1; `NaN` without calls.
    pub(super) fn success_rate(self) -> f64 {
        self.succeeded as f64 / self.volume() as f64
    }

    /// What has been counted since `earlier`. Counters that ran backwards began anew, and all they say is new.
    pub(super) fn since(self, earlier: Self) -> Self {
        if self.succeeded < earlier.succeeded || self.failed < earlier.failed {
            return self;
        }
        Self { succeeded: self.succeeded - earlier.succeeded, failed: self.failed - earlier.failed }
    }

    pub(super) fn add(&mut self, more: Self) {
        self.succeeded = self.succeeded.saturating_add(more.succeeded);
        self.failed = self.failed.saturating_add(more.failed);
    }
}
