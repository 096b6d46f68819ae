//! The error of a deadline that has passed.

use std::{error::Error, fmt, time::Duration};

/// The deadline passed while the body was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed(Duration);

impl Elapsed {
    pub(super) fn new(limit: Duration) -> Self {
        Self(limit)
    }

    /// How long the call was allowed to take.
    #[must_use]
    pub fn limit(&self) -> Duration {
        self.0
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the deadline of {:?} passed", self.0)
    }
}

impl Error for Elapsed {}
