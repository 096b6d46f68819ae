//! When the health of clusters is good enough.

use std::{fmt, sync::Arc};

use tokio::sync::watch;

use crate::health::{Health, Summary};

/// A condition on the health of one or several clusters.
///
/// A cluster is good enough while at least one of its endpoints is healthy, or
/// [at least so many](Self::at_least), or [such a share](Self::percent). It never is before its first resolution,
/// after its end, or with no healthy endpoint. [`any`](Self::any) wants one cluster that is, [`all`](Self::all) wants
/// every one.
#[derive(Clone, Debug)]
pub struct Clusters {
    healths: Vec<Health>,
    every: bool,
    enough: Enough,
    panic_counts: bool,
}

#[derive(Clone, Copy, Debug)]
enum Enough {
    Count(usize),
    Percent(usize),
}

impl Clusters {
    /// Holds while one of these clusters is good enough: for a process that has something to offer while any of its
    /// backends works. Never holds for none.
    #[must_use]
    pub fn any(healths: impl IntoIterator<Item = Health>) -> Self {
        let healths = healths.into_iter().collect();
        Self { healths, every: false, enough: Enough::Count(1), panic_counts: false }
    }

    /// Holds while all of these clusters are good enough. Never holds for none.
    #[must_use]
    pub fn all(healths: impl IntoIterator<Item = Health>) -> Self {
        Self { every: true, ..Self::any(healths) }
    }

    /// Asks for so many healthy endpoints in a cluster. 1 by default; 0 counts as 1.
    #[must_use]
    pub fn at_least(mut self, endpoints: usize) -> Self {
        self.enough = Enough::Count(endpoints.max(1));
        self
    }

    /// Asks for this share of a cluster's endpoints to be healthy, and for one at least (Envoy's
    /// `cluster_min_healthy_percentages`). Not asked by default; more than 100 counts as 100.
    #[must_use]
    pub fn percent(mut self, percent: u8) -> Self {
        self.enough = Enough::Percent(usize::from(percent.min(100)));
        self
    }

    /// Whether, in a cluster in panic, the endpoints with a ready connection count in place of the healthy ones.
    /// `false` by default.
    ///
    /// In panic calls go to every ready endpoint, healthy or not, in the hope that the health checks are wrong. Say
    /// `true` when a balancer in front should share that hope rather than send its calls to another region.
    #[must_use]
    pub fn panic_counts(mut self, panic_counts: bool) -> Self {
        self.panic_counts = panic_counts;
        self
    }

    /// Whether the condition holds now.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.holds(self.healths.iter().map(|health| self.lack_of(&health.watch().borrow()).is_none()))
    }

    /// Whether the condition holds, and what was decided on.
    pub(crate) fn look(&self) -> (bool, Vec<Look>) {
        let look = |health: &Health| {
            let summary = health.now();
            Look { name: health.name().clone(), lack: self.lack_of(&summary), summary }
        };
        let looks: Vec<_> = self.healths.iter().map(look).collect();
        (self.holds(looks.iter().map(|look| look.lack.is_none())), looks)
    }

    /// Everything that the condition depends on, seen up to now.
    pub(super) fn watch(&self) -> impl Iterator<Item = watch::Receiver<Summary>> {
        self.healths.iter().map(|health| {
            let mut summary = health.watch();
            summary.mark_unchanged();
            summary
        })
    }

    fn holds(&self, mut good: impl ExactSizeIterator<Item = bool>) -> bool {
        match self.every {
            true => good.len() > 0 && good.all(|good| good),
            false => good.any(|good| good),
        }
    }

    fn lack_of(&self, summary: &Summary) -> Option<Lack> {
        if summary.is_over() {
            return Some(Lack::Over);
        }
        if !summary.is_resolved() {
            return Some(Lack::Unresolved);
        }
        let total = summary.total_count();
        let (count, what) = match self.panic_counts && summary.is_in_panic() {
            true => (summary.ready_count(), "ready"),
            false => (summary.healthy_count(), "healthy"),
        };
        let wanted = match self.enough {
            Enough::Count(wanted) => wanted,
            Enough::Percent(percent) => total.saturating_mul(percent).div_ceil(100).max(1),
        };
        (count < wanted).then_some(Lack::TooFew { count, total, what, wanted })
    }
}

/// One cluster as it was at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) name: Arc<str>,
    pub(crate) summary: Summary,
    pub(crate) lack: Option<Lack>,
}

/// What a cluster lacks to be good enough.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lack {
    Unresolved,
    Over,
    TooFew { count: usize, total: usize, what: &'static str, wanted: usize },
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved => f.write_str("is not resolved yet"),
            Self::Over => f.write_str("has ended"),
            Self::TooFew { count, total, what, wanted } => {
                write!(f, "has {count} of {total} endpoints {what}, wants {wanted}")
            }
        }
    }
}

/// At least one endpoint of this cluster is healthy.
impl From<Health> for Clusters {
    fn from(health: Health) -> Self {
        Self::any([health])
    }
}
