//! What is ejected, when, and for how long.

mod agreement;
mod lifecycle;
mod settings;
mod simulation;
mod vectors;

use std::time::Duration;

use tokio::time::Instant;

use super::{Change, Counts, Eject, Outliers};
use crate::random::Random;

const SECOND: Duration = Duration::from_secs(1);

/// A set of endpoints whose clock and whose running totals the test holds.
struct Set {
    outliers: Outliers<usize>,
    totals: Vec<Counts>,
    now: Instant,
    random: Random,
}

impl Set {
    fn new(settings: Eject, endpoints: usize) -> Self {
        let now = Instant::now();
        let mut outliers = Outliers::new(settings, now).expect("valid settings");
        (0..endpoints).for_each(|key| outliers.insert(key));
        Self { outliers, totals: vec![Counts::default(); endpoints], now, random: Random::seeded(7) }
    }

    /// The next sweep, after an interval in which these calls succeeded and failed; what changed.
    fn sweep(&mut self, calls: &[(u64, u64)]) -> Vec<Change<usize>> {
        self.now = self.outliers.next_wake().expect("something is on");
        for (total, &(succeeded, failed)) in self.totals.iter_mut().zip(calls) {
            total.add(Counts::new(succeeded, failed));
        }
        self.outliers.sweep(self.now, self.totals.iter().copied().enumerate(), &self.random)
    }

    /// The endpoints that the next sweep ejects after an interval like this.
    fn ejects(&mut self, calls: &[(u64, u64)]) -> Vec<usize> {
        self.sweep(calls).iter().filter_map(ejected).collect()
    }
}

fn ejected(change: &Change<usize>) -> Option<usize> {
    match change {
        Change::Ejected { key, .. } => Some(*key),
        _ => None,
    }
}

/// As many endpoints as `failed`, of whose 100 calls that many failed.
fn of_a_hundred(failed: &[u64]) -> Vec<(u64, u64)> {
    failed.iter().map(|&failed| (100 - failed, failed)).collect()
}
