//! The endpoints that a picker chooses from.

use std::sync::Arc;

use crate::{endpoint::Endpoint, load::Load};

/// An endpoint with an established connection.
#[derive(Clone, Debug)]
pub struct ReadyEndpoint {
    endpoint: Arc<Endpoint>,
    load: Arc<Load>,
    weight: u32,
}

impl ReadyEndpoint {
    /// A ready endpoint with its load; its weight is the endpoint's.
    #[must_use]
    pub fn new(endpoint: Arc<Endpoint>, load: Arc<Load>) -> Self {
        Self { weight: endpoint.weight(), endpoint, load }
    }

    /// Who it is.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// How busy it is.
    #[must_use]
    pub fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// Its share of calls, relative to the others.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight
    }
}

/// All ready endpoints at one moment; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ReadySet(Arc<[ReadyEndpoint]>);

impl ReadySet {
    /// The ready endpoints, in the order of the resolved set.
    #[must_use]
    pub fn endpoints(&self) -> &[ReadyEndpoint] {
        &self.0
    }

    /// How many are ready.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is ready.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<ReadyEndpoint> for ReadySet {
    fn from_iter<I: IntoIterator<Item = ReadyEndpoint>>(endpoints: I) -> Self {
        Self(endpoints.into_iter().collect())
    }
}
