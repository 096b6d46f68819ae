//! The connectivity of a balancer as a whole.

use crate::{error::Error, stats::ChannelState};

/// The state of a balancer, as its `watch` tells it.
///
/// The watch also wakes when the state of a single endpoint changes, which [`changes`](Self::changes) counts: whoever
/// follows endpoints reads the snapshot ([`Balance::stats`](crate::Balance::stats)) then. Two of these are equal when
/// a call can expect the same of both.
#[derive(Clone, Debug)]
pub struct Connectivity {
    state: ChannelState,
    endpoints: usize,
    ready: usize,
    cause: Option<Error>,
    changes: u64,
}

impl Connectivity {
    pub(crate) fn new(state: ChannelState, endpoints: usize, ready: usize, cause: Option<Error>) -> Self {
        Self { state, endpoints, ready, cause, changes: 0 }
    }

    /// The same, after this many changes.
    pub(crate) fn after(mut self, changes: u64) -> Self {
        self.changes = changes;
        self
    }

    /// How many publications there were: each follows at least one change of an endpoint, its connection, its verdict
    /// or the set.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The best state that any endpoint has.
    #[must_use]
    pub fn state(&self) -> ChannelState {
        self.state
    }

    /// How many endpoints the target has, by the latest good resolution.
    #[must_use]
    pub fn endpoints(&self) -> usize {
        self.endpoints
    }

    /// How many endpoints take calls now.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.ready
    }

    /// Why calls fail, while they do.
    #[must_use]
    pub fn cause(&self) -> Option<&Error> {
        self.cause.as_ref()
    }
}

impl PartialEq for Connectivity {
    fn eq(&self, other: &Self) -> bool {
        let causes = (self.cause.as_ref(), other.cause.as_ref());
        let same_cause = match causes {
            (Some(a), Some(b)) => a.message() == b.message(),
            (None, None) => true,
            _ => false,
        };
        self.state == other.state
            && self.endpoints == other.endpoints
            && self.ready == other.ready
            && same_cause
    }
}
