//! Instants as small integers that fit into an atomic beside something else.

use std::time::Duration;

use tokio::time::Instant;

/// Microseconds since a [`Clock`]'s start.
pub(super) type Micros = u64;

/// Counts microseconds from the moment of its creation. What was before counts as zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// The microseconds until `instant`, rounded down.
    pub(super) fn micros(self, instant: Instant) -> Micros {
        whole_micros(instant.saturating_duration_since(self.0))
    }
}

/// A duration in microseconds, rounded down; cheaper than `Duration::as_micros`, which computes in 128 bits.
pub(super) fn whole_micros(duration: Duration) -> Micros {
    duration.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(duration.subsec_micros()))
}
