//! A list of endpoints that changes piecemeal and is published whole.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::Arc,
};

use crate::endpoint::Endpoint;

/// Endpoints by key, in the order in which their keys came.
///
/// A change costs a hash and a tree step, a snapshot one pass over the pointers.
#[derive(Debug)]
pub(super) struct Roster<K> {
    places: HashMap<K, u64>,
    endpoints: BTreeMap<u64, Arc<Endpoint>>,
    next_place: u64,
}

impl<K: Eq + Hash> Roster<K> {
    pub(super) fn new() -> Self {
        Self { places: HashMap::new(), endpoints: BTreeMap::new(), next_place: 0 }
    }

    /// Adds an endpoint, or replaces it in its place. Whether that made a difference.
    pub(super) fn insert(&mut self, key: K, endpoint: Arc<Endpoint>) -> bool {
        let next_place = self.next_place;
        let place = *self.places.entry(key).or_insert(next_place);
        if place == next_place {
            self.next_place = next_place.saturating_add(1);
        }
        if self.endpoints.get(&place).is_some_and(|old| **old == *endpoint) {
            return false;
        }
        self.endpoints.insert(place, endpoint);
        true
    }

    /// Removes an endpoint. Whether it was there.
    pub(super) fn remove(&mut self, key: &K) -> bool {
        self.places.remove(key).is_some_and(|place| self.endpoints.remove(&place).is_some())
    }

    pub(super) fn get(&self, key: &K) -> Option<&Arc<Endpoint>> {
        self.places.get(key).and_then(|place| self.endpoints.get(place))
    }

    pub(super) fn len(&self) -> usize {
        self.endpoints.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.values()
    }
}
