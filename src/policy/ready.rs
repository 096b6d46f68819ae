//! The endpoints that a picker chooses from.

use std::{fmt, sync::Arc};

use tokio::time::Instant;

use crate::{
    endpoint::Endpoint,
    load::{Load, Readings},
};

/// An endpoint with an established connection.
///
/// Cheap to clone: ten thousand are, whenever one of them changes.
#[derive(Clone, Debug)]
pub struct ReadyEndpoint {
    of: Arc<Of>,
    weight: u32,
}

#[derive(Debug)]
struct Of {
    endpoint: Arc<Endpoint>,
    load: Arc<Load>,
}

impl ReadyEndpoint {
    /// A ready endpoint with its load; its weight is the endpoint's.
    #[must_use]
    pub fn new(endpoint: Arc<Endpoint>, load: Arc<Load>) -> Self {
        Self { weight: endpoint.weight(), of: Arc::new(Of { endpoint, load }) }
    }

    /// Who it is.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.of.endpoint
    }

    /// How busy it is.
    #[must_use]
    pub fn load(&self) -> &Arc<Load> {
        &self.of.load
    }

    /// Its share of calls, relative to the others.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight
    }
}

/// All ready endpoints at one moment; cheap to clone.
#[derive(Clone, Default)]
pub struct ReadySet(Arc<Inner>);

#[derive(Default)]
struct Inner {
    endpoints: Box<[ReadyEndpoint]>,
    readings: Readings,
}

impl ReadySet {
    /// The ready endpoints, in the order of the resolved set.
    #[must_use]
    pub fn endpoints(&self) -> &[ReadyEndpoint] {
        &self.0.endpoints
    }

    /// How many are ready.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.endpoints.len()
    }

    /// Whether none is ready.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.endpoints.is_empty()
    }

    /// [`Load::pending`] of the endpoint with this index, by the short way.
    pub(super) fn pending(&self, index: usize, now: Instant) -> u64 {
        self.0.readings.pending(index, now, || self.0.endpoints[index].load())
    }

    /// [`Load::latency`] of the endpoint with this index in seconds, by the short way.
    pub(super) fn latency_seconds(&self, index: usize, now: Instant) -> Option<f32> {
        self.0.readings.latency_seconds(index, now)
    }
}

impl fmt::Debug for ReadySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.endpoints()).finish()
    }
}

impl FromIterator<ReadyEndpoint> for ReadySet {
    fn from_iter<I: IntoIterator<Item = ReadyEndpoint>>(endpoints: I) -> Self {
        let endpoints: Box<[ReadyEndpoint]> = endpoints.into_iter().collect();
        let readings = endpoints.iter().map(|endpoint| &**endpoint.load()).collect();
        Self(Arc::new(Inner { endpoints, readings }))
    }
}
