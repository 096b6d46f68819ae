mod chi_square;
mod distribution;
mod exclusion;
mod pick_first;
mod simulation;

use std::{net::Ipv4Addr, sync::Arc};

use http::{Extensions, HeaderMap};
use tokio::time::Instant;

use super::{P2c, Pick, PickContext, PickFirst, Picker, Policy, Random, ReadyEndpoint, ReadySet, RoundRobin};
use crate::{
    endpoint::{Address, Endpoint},
    load::{Load, LoadId, SetLoad},
    random,
};

/// All that call more than one endpoint, with randomness of their own fixed.
fn spreading_policies() -> Vec<Arc<dyn Policy>> {
    vec![
        Arc::new(RoundRobin::seeded(11)),
        Arc::new(P2c::least_pending()),
        Arc::new(P2c::peak_ewma()),
        Arc::new(Random::new()),
    ]
}

fn every_policy() -> Vec<Arc<dyn Policy>> {
    let mut policies = spreading_policies();
    policies.push(Arc::new(PickFirst::new()));
    policies
}

fn endpoint(number: usize) -> Endpoint {
    let ip = Ipv4Addr::from_bits(0x0a00_0000 + number as u32);
    Endpoint::new(Address::Tcp((ip, 50_051).into()))
}

/// A ready set of endpoints with these weights.
fn ready(weights: &[u32]) -> ReadySet {
    let set = Arc::new(SetLoad::new());
    let endpoint = |(number, &weight): (usize, &u32)| {
        let endpoint = Arc::new(endpoint(number).with_weight(weight));
        ReadyEndpoint::new(endpoint, Arc::new(Load::new(set.clone())))
    };
    weights.iter().enumerate().map(endpoint).collect()
}

/// Makes picks, with the randomness of one seed.
struct Caller {
    headers: HeaderMap,
    extensions: Extensions,
    random: random::Random,
}

impl Caller {
    fn new(seed: u64) -> Self {
        let random = random::Random::seeded(seed);
        Self { headers: HeaderMap::new(), extensions: Extensions::new(), random }
    }

    fn pick_at(&self, picker: &dyn Picker, excluded: &[LoadId], now: Instant) -> Option<usize> {
        let context = PickContext::new("/a.B/C", &self.headers, &self.extensions, &self.random, now);
        match picker.pick(&context.excluding(excluded)) {
            Pick::Endpoint(index) => Some(index),
            Pick::Queue => None,
            other => panic!("none of these policies says {other:?}"),
        }
    }

    fn pick(&self, picker: &dyn Picker) -> Option<usize> {
        self.pick_at(picker, &[], Instant::now())
    }
}
