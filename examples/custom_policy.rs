//! A policy of one's own: it prefers the endpoints of its own zone, and spills over to the others when they are busy.
//!
//! Calls that stay in the zone are faster, and in most clouds free; but a zone with one endpoint left must not drown it
//! while the others idle. So the local endpoints take every call as long as fewer than `busy` calls per local endpoint
//! are pending. Above that, the call goes wherever there is less to do.
//!
//! A policy has two halves. [`Policy::build`] runs on the control plane, whenever the set of ready endpoints changes:
//! whatever can be prepared is prepared there. [`Picker::pick`] runs in every call, on the caller's own task: it takes
//! no lock, allocates nothing and never waits. It tells load from [`Load::pending`], which counts a call from its pick
//! to the end of its stream, and holds a failure against its endpoint, so that failing fast does not look idle.
//!
//! ```sh
//! cargo run --example custom_policy
//! ```
//!
//! [`Load::pending`]: grpc_balance::load::Load::pending

#![expect(clippy::print_stdout, reason = "the table is what the example shows")]

use std::{error::Error, sync::Arc};

use grpc_balance::{
    endpoint::{Endpoint, Locality},
    grpc::Outcome,
    load::{InFlight, Load, SetLoad},
    policy::{P2c, Pick, PickContext, Picker, Policy, ReadyEndpoint, ReadySet},
    random::Random,
};
use http::{Extensions, HeaderMap};
use tokio::time::Instant;

/// Prefers the endpoints of one zone.
#[derive(Debug)]
struct PreferZone {
    zone: String,
    busy: u64,
    within: P2c,
}

impl PreferZone {
    /// Prefers this zone while fewer than `busy` calls per endpoint of it are pending.
    fn new(zone: impl Into<String>, busy: u64) -> Self {
        Self { zone: zone.into(), busy, within: P2c::least_pending() }
    }
}

impl Policy for PreferZone {
    fn name(&self) -> &'static str {
        "prefer_zone"
    }

    fn build(&self, ready: &ReadySet) -> Arc<dyn Picker> {
        // A policy may be made of others: here one picker chooses among the local endpoints, and one among all.
        let is_local = |e: &ReadyEndpoint| e.endpoint().locality().is_some_and(|l| l.zone == self.zone);
        let (indices, members): (Vec<usize>, Vec<ReadyEndpoint>) =
            ready.endpoints().iter().cloned().enumerate().filter(|(_, e)| is_local(e)).unzip();
        let all = self.within.build(ready);
        if members.is_empty() {
            return all;
        }
        let members: ReadySet = members.into_iter().collect();
        let local = self.within.build(&members);
        Arc::new(PreferZonePicker { busy: self.busy, members, indices, local, all })
    }
}

#[derive(Debug)]
struct PreferZonePicker {
    busy: u64,
    /// The local endpoints, which `local` picks from, and their indices in the whole set.
    members: ReadySet,
    indices: Vec<usize>,
    local: Arc<dyn Picker>,
    all: Arc<dyn Picker>,
}

impl Picker for PreferZonePicker {
    fn pick(&self, context: &PickContext<'_>) -> Pick {
        // The picker compares two endpoints and chooses the less busy: if that one is too busy, so are most.
        if let Pick::Endpoint(local) = self.local.pick(context)
            && let Some(index) = self.indices.get(local)
            && let Some(endpoint) = self.members.endpoints().get(local)
            && endpoint.load().pending(context.now()) < self.busy
        {
            return Pick::Endpoint(*index);
        }
        // The local endpoints are busy or excluded. `all` knows them as well, so they still take their part.
        self.all.pick(context)
    }
}

/// Puts rising numbers of calls in flight and shows where they are.
fn main() -> Result<(), Box<dyn Error>> {
    let set = Arc::new(SetLoad::new());
    let mut ready = Vec::new();
    for (address, zone) in
        [("10.0.1.1:50051", "a"), ("10.0.1.2:50051", "a"), ("10.0.2.1:50051", "b"), ("10.0.3.1:50051", "c")]
    {
        let endpoint = address.parse::<Endpoint>()?.with_locality(Locality::zone(zone));
        ready.push(ReadyEndpoint::new(Arc::new(endpoint), Arc::new(Load::new(set.clone()))));
    }
    let ready: ReadySet = ready.into_iter().collect();
    let picker = PreferZone::new("a", 10).build(&ready);
    let (headers, extensions, random) = (HeaderMap::new(), Extensions::new(), Random::from_os());

    println!("{:>10} {:>8} {:>8} {:>8} {:>8}", "in flight", "a1", "a2", "b1", "c1");
    let mut calls = Vec::new();
    for callers in [5, 10, 20, 30, 40, 60] {
        while calls.len() < callers {
            let now = Instant::now();
            let context = PickContext::new("/greeter.Greeter/SayHello", &headers, &extensions, &random, now);
            let Pick::Endpoint(index) = picker.pick(&context) else { return Err("nothing is ready".into()) };
            let endpoint = ready.endpoints().get(index).ok_or("the picker knows its set")?;
            calls.push(InFlight::start(endpoint.load().clone(), now));
        }
        let counts: Vec<u64> = ready.endpoints().iter().map(|e| e.load().in_flight()).collect();
        let [a1, a2, b1, c1] = counts[..] else { return Err("there are four endpoints".into()) };
        println!("{callers:>10} {a1:>8} {a2:>8} {b1:>8} {c1:>8}");
    }
    calls.into_iter().for_each(|call| call.finish(Outcome::Success, Instant::now()));
    Ok(())
}
