//! The loads of a whole ready set, as picks read them.

use tokio::time::Instant;

use super::{
    Load,
    gauge::{Place, Places},
    record::pending,
};

/// Reads loads by their order, without going through each [`Load`].
///
/// Whoever owns it owns the loads, too.
#[derive(Debug, Default)]
pub(crate) struct Readings(Places);

impl Readings {
    /// [`Load::pending`] of the load that was the `index`th, which `load` looks up.
    pub(crate) fn pending<'a>(&self, index: usize, now: Instant, load: impl FnOnce() -> &'a Load) -> u64 {
        let (gauge, clock) = self.0.gauge(index);
        pending(gauge, clock, now, load)
    }

    /// [`Load::latency`] of the load that was the `index`th, in seconds.
    pub(crate) fn latency_seconds(&self, index: usize, now: Instant) -> Option<f32> {
        let (gauge, clock) = self.0.gauge(index);
        gauge.latency.seconds(clock.micros(now))
    }
}

impl Readings {
    /// The readings of these loads, given their places, which are known without looking at the loads.
    pub(crate) fn new<'a, L>(
        loads: impl IntoIterator<Item = (Place, L)>,
        load: impl Fn(L) -> &'a Load,
    ) -> Self {
        Self(Places::new(loads, |of| load(of).seat()))
    }
}
