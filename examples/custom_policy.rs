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
//! The four greeters of this example, two in each zone, are in its own process. The more callers there are, the more
//! calls leave zone `a`.
//!
//! ```sh
//! cargo run --example custom_policy
//! ```
//!
//! [`Load::pending`]: grpc_balance::load::Load::pending

#![expect(clippy::print_stdout, reason = "the table is what the example shows")]

mod loopback {
    #[expect(dead_code, reason = "these pods are neither stopped nor killed")]
    pub(crate) mod pod;
}
#[path = "../proto/mod.rs"]
mod pb;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use grpc_balance::{
    Channel,
    balance::Peer,
    discover::Pushed,
    endpoint::{Endpoint, Locality},
    error::BoxError,
    policy::{P2c, Pick, PickContext, Picker, Policy, ReadyEndpoint, ReadySet},
};
use loopback::pod::{Pod, shared_port};
use pb::helloworld::{HelloRequest, greeter_client::GreeterClient};
use tokio::{task::JoinSet, time::Instant};

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

/// How many of the calls that so many callers make in a second each zone serves.
async fn shares(channel: &Channel, callers: usize) -> Result<BTreeMap<String, u64>, BoxError> {
    let until = Instant::now() + Duration::from_secs(1);
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let mut client = GreeterClient::new(channel.clone());
        tasks.spawn(async move {
            let mut served = Vec::new();
            while Instant::now() < until {
                let reply = client.say_hello(HelloRequest { name: "you".to_owned() }).await?;
                let peer = reply.extensions().get::<Peer>().ok_or("who served it?")?;
                served.push(peer.endpoint().locality().map_or_else(String::new, |l| l.zone.clone()));
            }
            Ok::<_, BoxError>(served)
        });
    }
    let mut shares = BTreeMap::new();
    while let Some(served) = tasks.join_next().await {
        served??.into_iter().for_each(|zone| *shares.entry(zone).or_default() += 1);
    }
    Ok(shares)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (handle, endpoints) = Pushed::new();
    let mut pods = Vec::new();
    let port = shared_port(4)?;
    for (host, zone) in [(1, "a"), (2, "a"), (3, "b"), (4, "b")] {
        let address = SocketAddr::from(([127, 0, 0, host], port));
        pods.push(Pod::start(address, Duration::from_millis(20)).await?);
        handle.insert(Endpoint::new(address).with_locality(Locality::zone(zone)));
    }
    let policy = PreferZone::new("a", 8);
    let channel = Channel::builder("greeters").resolver(endpoints).policy(policy).build()?;
    channel.ready(pods.len(), Duration::from_secs(10)).await?;

    println!("{:>10} {:>8} {:>8}", "callers", "zone a", "zone b");
    for callers in [8, 16, 32, 64] {
        let shares = shares(&channel, callers).await?;
        let total: u64 = shares.values().sum();
        let percent = |zone| shares.get(zone).map_or(0, |served| (served * 100 + total / 2) / total);
        println!("{callers:>10} {:>7}% {:>7}%", percent("a"), percent("b"));
    }
    Ok(())
}
