//! The endpoints that a picker chooses from.

use std::{any::Any, fmt, sync::Arc};

use tokio::time::Instant;

use crate::{
    endpoint::Endpoint,
    load::{Load, LoadId, Place, Readings},
};

/// An endpoint with an established connection.
///
/// Cheap to clone and to look at: a ready set of ten thousand is put together whenever one of them changes, and what
/// that needs of each is here, not all over the heap.
#[derive(Clone)]
pub struct ReadyEndpoint {
    of: Arc<Of>,
    id: LoadId,
    place: Place,
    weight: u32,
}

struct Of {
    endpoint: Arc<Endpoint>,
    load: Arc<Load>,
    /// What the balancer needs to reach the endpoint.
    connections: Box<dyn Any + Send + Sync>,
}

impl ReadyEndpoint {
    /// A ready endpoint with its load; its weight is the endpoint's.
    #[must_use]
    pub fn new(endpoint: Arc<Endpoint>, load: Arc<Load>) -> Self {
        Self::connected(endpoint, load, ())
    }

    /// A ready endpoint that carries its connections.
    pub(crate) fn connected(
        endpoint: Arc<Endpoint>,
        load: Arc<Load>,
        connections: impl Any + Send + Sync,
    ) -> Self {
        let (id, place, weight) = (load.id(), load.place(), endpoint.weight());
        Self { of: Arc::new(Of { endpoint, load, connections: Box::new(connections) }), id, place, weight }
    }

    /// Whether both are the same: one endpoint with the same connections and weight.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.of, &other.of) && self.weight == other.weight
    }

    pub(crate) fn set_weight(&mut self, weight: u32) {
        self.weight = weight;
    }

    /// The connections that it carries, if they are of this type.
    pub(crate) fn connections<T: Any>(&self) -> Option<&T> {
        self.of.connections.downcast_ref()
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

    /// Names its load.
    #[must_use]
    pub fn id(&self) -> LoadId {
        self.id
    }

    /// Its share of calls, relative to the others: the endpoint's weight, or a multiple of it under slow start.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight
    }
}

impl fmt::Debug for ReadyEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyEndpoint")
            .field("endpoint", &self.of.endpoint)
            .field("load", &self.of.load)
            .field("weight", &self.weight)
            .finish()
    }
}

/// All ready endpoints at one moment; cheap to clone.
#[derive(Clone, Default)]
pub struct ReadySet(Arc<Inner>);

#[derive(Default)]
struct Inner {
    endpoints: Vec<ReadyEndpoint>,
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

    /// The list, to be made into another one, unless somebody else holds the set too.
    pub(crate) fn reclaim(self) -> Option<Vec<ReadyEndpoint>> {
        Arc::into_inner(self.0).map(|inner| inner.endpoints)
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
        endpoints.into_iter().collect::<Vec<_>>().into()
    }
}

impl From<Vec<ReadyEndpoint>> for ReadySet {
    fn from(endpoints: Vec<ReadyEndpoint>) -> Self {
        let places = endpoints.iter().map(|endpoint| (endpoint.place, endpoint));
        let readings = Readings::new(places, |endpoint| &**endpoint.load());
        Self(Arc::new(Inner { endpoints, readings }))
    }
}
