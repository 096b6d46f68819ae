//! A list of endpoints that changes piecemeal and is published whole.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use crate::endpoint::Endpoint;

/// Endpoints by key, in the order in which their keys came.
///
/// The list is shared with what was published, and changed in place once nobody looks at that any more: then a change
/// among ten thousand moves pointers, and touches no endpoint's reference count.
#[derive(Debug)]
pub(super) struct Roster<K> {
    places: HashMap<K, u64>,
    /// The places of `endpoints`, ascending.
    order: Vec<u64>,
    endpoints: Arc<Vec<Arc<Endpoint>>>,
    next_place: u64,
}

impl<K: Eq + Hash> Roster<K> {
    pub(super) fn new() -> Self {
        Self { places: HashMap::new(), order: Vec::new(), endpoints: Arc::default(), next_place: 0 }
    }

    /// Adds an endpoint, or replaces it in its place. Whether that made a difference.
    pub(super) fn insert(&mut self, key: K, endpoint: Arc<Endpoint>) -> bool {
        let Some(index) = self.index(&key) else {
            self.places.insert(key, self.next_place);
            self.order.push(self.next_place);
            Arc::make_mut(&mut self.endpoints).push(endpoint);
            self.next_place += 1;
            return true;
        };
        let differs = *self.endpoints[index] != *endpoint;
        if differs {
            Arc::make_mut(&mut self.endpoints)[index] = endpoint;
        }
        differs
    }

    /// Removes an endpoint. Whether it was there.
    pub(super) fn remove(&mut self, key: &K) -> bool {
        let Some(index) = self.index(key) else { return false };
        self.places.remove(key);
        self.order.remove(index);
        Arc::make_mut(&mut self.endpoints).remove(index);
        true
    }

    pub(super) fn get(&self, key: &K) -> Option<&Arc<Endpoint>> {
        self.endpoints.get(self.index(key)?)
    }

    pub(super) fn endpoints(&self) -> &Arc<Vec<Arc<Endpoint>>> {
        &self.endpoints
    }

    fn index(&self, key: &K) -> Option<usize> {
        self.order.binary_search(self.places.get(key)?).ok()
    }
}
