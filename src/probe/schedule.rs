//! How long to pause between checks.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::{probe::Probe, random::Random};

/// What a pause depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// It follows the endpoint's first check.
    pub(super) first: bool,
    /// The verdict is failing.
    pub(super) failing: bool,
    /// Calls go to the cluster.
    pub(super) traffic: bool,
}

impl Probe {
    /// How long the first check is put off.
    pub(super) fn before_first(&self, random: &Random) -> Duration {
        share(self.initial_jitter, random)
    }

    /// The pause at this moment.
    pub(super) fn pause(&self, moment: Moment, random: &Random) -> Duration {
        let unhealthy = self.interval_while_unhealthy.filter(|_| moment.failing);
        let quiet = self.interval_without_traffic.filter(|_| !moment.traffic);
        let interval = unhealthy.or(quiet).unwrap_or(self.interval);
        if moment.first {
            share(interval, random)
        } else {
            interval.saturating_add(share(self.jitter, random))
        }
    }

    /// Waits for as long as this. A pause that is longer than the interval because there is no traffic ends once there
    /// is.
    pub(super) async fn wait(&self, pause: Duration, moment: Moment, has_traffic: impl Fn() -> bool) {
        let now = Instant::now();
        // So far ahead that it does not matter where.
        let end = now.checked_add(pause).unwrap_or_else(|| now + Duration::from_secs(u32::MAX.into()));
        let long = self.interval_without_traffic.is_some_and(|_| !moment.traffic) && pause > self.interval;
        let mut step = if long { now.checked_add(self.interval) } else { None };
        while let Some(look) = step.filter(|&look| look < end) {
            sleep_until(look).await;
            if has_traffic() {
                return;
            }
            step = look.checked_add(self.interval);
        }
        sleep_until(end).await;
    }
}

/// Between nothing and all of it, evenly.
fn share(of: Duration, random: &Random) -> Duration {
    Duration::try_from_secs_f64(of.as_secs_f64() * random.unit()).unwrap_or(of)
}
