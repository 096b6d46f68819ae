//! What a call sees of the balancer.

use std::{fmt, sync::Arc};

use crate::{
    connect::subchannel::Lanes,
    error::Error,
    policy::{Picker, ReadySet},
};

/// The ready endpoints, their connections and the picker over them, at one moment.
pub(crate) struct Snapshot<C> {
    pub(crate) ready: ReadySet,
    /// The connections of each ready endpoint, by its index in `ready`.
    pub(crate) lanes: Vec<Arc<Lanes<C>>>,
    pub(crate) choice: Choice,
    /// Grows with every snapshot.
    pub(crate) generation: u64,
}

/// What becomes of a call that comes now.
#[derive(Debug)]
pub(crate) enum Choice {
    /// The picker decides.
    Pick(Arc<dyn Picker>),
    /// No endpoint is ready, but the first resolution or some endpoint's first attempt is pending.
    Wait,
    /// No endpoint is ready, and there is no reason to expect one soon.
    Fail(Error),
    /// The balancer has ended; not even a call that waits for ready will be served.
    Closed(Error),
}

impl<C> Snapshot<C> {
    pub(crate) fn without_endpoints(choice: Choice, generation: u64) -> Self {
        Self { ready: ReadySet::default(), lanes: Vec::new(), choice, generation }
    }
}

impl<C> fmt::Debug for Snapshot<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("ready", &self.ready.len()).field("choice", &self.choice).finish()
    }
}
