//! What can be looked at.

use crate::{
    balance::Balance,
    channel::Channel,
    cluster::Cluster,
    connect::Connect,
    health::{Health, Summary},
    stats::Snapshot,
};

/// Something that balances over endpoints and tells how they are.
///
/// Those of this crate do. For one's own, a pair of a [`Health`] and a closure that makes a [`Snapshot`] will do.
pub trait Observe: Send + Sync + 'static {
    /// How the endpoints are, summed up.
    fn summary(&self) -> Summary;

    /// The counters of the whole and of each endpoint.
    fn snapshot(&self) -> Snapshot;
}

impl<F: Fn() -> Snapshot + Send + Sync + 'static> Observe for (Health, F) {
    fn summary(&self) -> Summary {
        self.0.now()
    }

    fn snapshot(&self) -> Snapshot {
        self.1()
    }
}

impl<C: Connect> Observe for Balance<C> {
    fn summary(&self) -> Summary {
        self.health().now()
    }

    fn snapshot(&self) -> Snapshot {
        self.stats()
    }
}

impl Observe for Channel {
    fn summary(&self) -> Summary {
        self.health().now()
    }

    fn snapshot(&self) -> Snapshot {
        self.stats()
    }
}

impl Observe for Cluster {
    fn summary(&self) -> Summary {
        self.health().now()
    }

    fn snapshot(&self) -> Snapshot {
        self.stats()
    }
}
