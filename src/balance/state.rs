//! The connectivity of a balancer as a whole.

use crate::{error::Error, stats::ChannelState};

/// The state of a balancer, as its `watch` tells it.
#[derive(Clone, Debug)]
pub struct Connectivity {
    state: ChannelState,
    endpoints: usize,
    ready: usize,
    cause: Option<Error>,
}

impl Connectivity {
    pub(crate) fn new(state: ChannelState, endpoints: usize, ready: usize, cause: Option<Error>) -> Self {
        Self { state, endpoints, ready, cause }
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
