//! What a call sees of the balancer.

use std::{fmt, marker::PhantomData, sync::Arc};

use crate::{
    connect::subchannel::{Lane, Lanes},
    error::Error,
    policy::{Picker, ReadyEndpoint, ReadySet},
};

/// The ready endpoints, their connections and the picker over them, at one moment.
pub(crate) struct Snapshot<C> {
    pub(crate) ready: ReadySet,
    pub(crate) choice: Choice,
    /// Grows with every snapshot.
    pub(crate) generation: u64,
    /// The ready endpoints carry `Lanes<C>`.
    _connections: PhantomData<fn() -> C>,
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
    /// A snapshot of endpoints that carry [`Lanes`] of `C`.
    pub(crate) fn new(ready: ReadySet, choice: Choice, generation: u64) -> Self {
        Self { ready, choice, generation, _connections: PhantomData }
    }

    pub(crate) fn without_endpoints(choice: Choice, generation: u64) -> Self {
        Self::new(ReadySet::default(), choice, generation)
    }
}

impl<C: Send + Sync + 'static> Snapshot<C> {
    /// The open connections of a ready endpoint.
    pub(crate) fn lanes<'a>(&self, ready: &'a ReadyEndpoint) -> &'a [Lane<C>] {
        ready.connections::<Lanes<C>>().map_or(&[], |lanes| &lanes.open)
    }
}

impl<C> fmt::Debug for Snapshot<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("ready", &self.ready.len()).field("choice", &self.choice).finish()
    }
}
