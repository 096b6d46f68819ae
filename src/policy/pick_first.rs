//! One endpoint for all calls.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use crate::{
    endpoint::{Address, Endpoint, EndpointSet},
    policy::{Pick, PickContext, Picker, Policy, ReadySet, Wants},
    random::Random,
};

/// Connects to one endpoint, the first in the list that can be reached, and sends it every call (`pick_first`).
///
/// The list is tried in the order of the resolved set with address families interleaved, so that a host whose IPv6 is
/// broken does not wait for every IPv6 address first (Happy Eyeballs, RFC 8305, as in gRFC A61). Endpoints of weight 0
/// come last. [`shuffle`](Self::shuffle) spreads clients over the list (gRFC A62).
#[derive(Debug)]
pub struct PickFirst {
    shuffle: Option<u64>,
}

impl PickFirst {
    /// The policy, in the order of the resolved set.
    #[must_use]
    pub fn new() -> Self {
        Self { shuffle: None }
    }

    /// Shuffles the list, heavier endpoints to the front more often (`shuffleAddressList` of gRFC A62, weighted as in
    /// A113). Default: the order of the resolved set.
    ///
    /// Each policy draws its order once: a set that comes again, or with an endpoint more or less, keeps it, and so
    /// does not move the client.
    #[must_use]
    pub fn shuffle(self) -> Self {
        self.shuffle_seeded(Random::from_os().next())
    }

    /// As [`shuffle`](Self::shuffle), with an order that is fixed by `seed`.
    #[must_use]
    pub fn shuffle_seeded(self, seed: u64) -> Self {
        Self { shuffle: Some(seed) }
    }
}

impl Default for PickFirst {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy for PickFirst {
    fn name(&self) -> &'static str {
        "pick_first"
    }

    fn build(&self, ready: &ReadySet) -> Arc<dyn Picker> {
        let any_above_zero = ready.endpoints().iter().any(|endpoint| endpoint.weight() > 0);
        Arc::new(PickFirstPicker { ready: ready.clone(), least_weight: u32::from(any_above_zero) })
    }

    fn wants(&self, set: &EndpointSet) -> Wants {
        let endpoints = set.endpoints();
        let mut order: Vec<usize> = (0..endpoints.len()).collect();
        if let Some(seed) = self.shuffle {
            order.sort_by_cached_key(|&index| Rank(rank(&endpoints[index], seed)));
        }
        let (order, last) = order.into_iter().partition(|&index| endpoints[index].weight() > 0);
        let family = |&index: &usize| Family::of(&endpoints[index]);
        Wants::First([interleave(order, family), interleave(last, family)].concat())
    }
}

#[derive(Debug)]
struct PickFirstPicker {
    ready: ReadySet,
    /// 1, or 0 while every ready endpoint has weight 0.
    least_weight: u32,
}

impl Picker for PickFirstPicker {
    fn pick(&self, context: &PickContext<'_>) -> Pick {
        let suits = |endpoint: &_| !context.excludes(endpoint);
        let mut endpoints = self.ready.endpoints().iter();
        endpoints
            .position(|endpoint| endpoint.weight() >= self.least_weight && suits(endpoint))
            .map_or(Pick::Queue, Pick::Endpoint)
    }
}

/// What addresses are interleaved by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
    Local,
}

impl Family {
    /// The family of the address that is tried first.
    fn of(endpoint: &Endpoint) -> Self {
        match endpoint.addresses().first() {
            Some(Address::Tcp(address)) if address.is_ipv4() => Self::V4,
            Some(Address::Tcp(_)) => Self::V6,
            _ => Self::Local,
        }
    }
}

/// Takes one of each family in turn, in the order in which the families first appear.
fn interleave<T>(items: Vec<T>, family: impl Fn(&T) -> Family) -> Vec<T> {
    let (len, mut families) = (items.len(), Vec::<(Family, Vec<T>)>::new());
    for item in items {
        let of = family(&item);
        match families.iter_mut().find(|(family, _)| *family == of) {
            Some((_, members)) => members.push(item),
            None => families.push((of, vec![item])),
        }
    }
    let mut members: Vec<_> = families.into_iter().map(|(_, members)| members.into_iter()).collect();
    let mut interleaved = Vec::with_capacity(len);
    while interleaved.len() < len {
        interleaved.extend(members.iter_mut().filter_map(Iterator::next));
    }
    interleaved
}

/// Where an endpoint comes in a shuffled list: A113 sorts by `u^(1/weight)` descending, which is `-ln(u) / weight`
/// ascending. The random `u` is the hash of the endpoint's identity and the seed.
fn rank(endpoint: &Endpoint, seed: u64) -> f64 {
    let mut hasher = DefaultHasher::new();
    (seed, endpoint.key()).hash(&mut hasher);
    // `u` is in (0, 1]; weight 0 ranks last among the finite numbers.
    let u = 1.0 - Random::seeded(hasher.finish()).unit();
    -u.ln() / f64::from(endpoint.weight()).max(f64::MIN_POSITIVE)
}

/// A rank that sorts; ranks are never NaN.
#[derive(Debug)]
struct Rank(f64);

impl PartialEq for Rank {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Rank {}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
