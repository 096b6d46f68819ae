//! Whole snapshots of the endpoints behind a target.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::endpoint::Endpoint;

/// All endpoints behind a target at one moment.
///
/// A snapshot says what deltas cannot: "resolved, and empty", the replacement of everything at once, and when this
/// was last true. Cheap to clone. Where most of a set stays as it was, resolvers reuse the `Arc`s of the previous
/// one and keep the order, so that comparing two sets of 10 000 costs little.
#[derive(Clone, Debug)]
pub struct EndpointSet {
    endpoints: Arc<Vec<Arc<Endpoint>>>,
    generation: u64,
    resolved_at: Instant,
}

impl EndpointSet {
    /// A set, in order of preference, as of now. Of endpoints with the same identity only the first is kept.
    ///
    /// `generation` grows with each set that a resolver yields.
    #[must_use]
    pub fn new<E: Into<Arc<Endpoint>>>(endpoints: impl IntoIterator<Item = E>, generation: u64) -> Self {
        let mut seen = HashSet::new();
        let endpoints = endpoints
            .into_iter()
            .map(Into::into)
            .filter(|endpoint| seen.insert(endpoint.key().clone()))
            .collect();
        Self { endpoints: Arc::new(endpoints), generation, resolved_at: Instant::now() }
    }

    /// A set of endpoints of which the caller knows that their identities differ.
    pub(crate) fn from_distinct(endpoints: Arc<Vec<Arc<Endpoint>>>, generation: u64) -> Self {
        Self { endpoints, generation, resolved_at: Instant::now() }
    }

    /// The same answer of discovery, its endpoints with other attributes.
    #[cfg(feature = "probe")]
    pub(crate) fn with_attributes(&self, endpoints: Vec<Arc<Endpoint>>, generation: u64) -> Self {
        Self { endpoints: Arc::new(endpoints), generation, resolved_at: self.resolved_at }
    }

    /// The endpoints in order of preference.
    #[must_use]
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// How many endpoints there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Whether the target resolved to nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// The number of this snapshot; a later one is greater.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// When discovery last confirmed these endpoints.
    #[must_use]
    pub fn resolved_at(&self) -> Instant {
        self.resolved_at
    }

    /// How long ago discovery last confirmed these endpoints.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.resolved_at.elapsed()
    }
}
