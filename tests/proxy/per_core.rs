//! A proxy with a runtime per core.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    thread::ThreadId,
    time::Duration,
};

use grpc_balance::{
    cluster::Cluster, connect::Worker, discover::Pushed, endpoint::Endpoint, grpc::Code, policy::RoundRobin,
    server::Server,
};
use tokio::{task::JoinSet, time::timeout};
use tower::ServiceBuilder;

use crate::support::{
    greeter::Greeter,
    pb::helloworld::{HelloRequest, greeter_client::GreeterClient},
};

const CORES: usize = 3;
const SOON: Duration = Duration::from_secs(20);

async fn until(mut condition: impl FnMut() -> bool) {
    let met = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, met).await.expect("it comes about");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_and_calls_are_spread_over_cores_and_backends_and_a_drain_ends_all() {
    let mut backends = Vec::new();
    for name in ["a", "b", "c"] {
        backends.push(Greeter::start(name).await);
    }
    let (handle, pushed) = Pushed::new();
    handle.replace(backends.iter().map(|backend| Endpoint::new(backend.address())));
    let cluster = Cluster::builder("test", "backends.test:80").resolver(pushed).policy(RoundRobin::new());
    let cluster = cluster.build().expect("a valid cluster");

    let threads = Arc::<Mutex<HashSet<ThreadId>>>::default();
    let (seen, of) = (threads.clone(), cluster.clone());
    let app = move |worker: &Worker| {
        let threads = seen.clone();
        ServiceBuilder::new()
            .map_request(move |request: http::Request<_>| {
                threads.lock().expect("no panic").insert(std::thread::current().id());
                request
            })
            .service(of.on(worker))
    };
    let bound = Server::bind("127.0.0.1:0").linger(Duration::ZERO).listen().expect("a free port");
    let (address, server) = (bound.local_addrs().next().expect("it listens"), bound.handle());
    let serving = tokio::spawn(bound.per_core(app).cores(CORES).serve(std::future::pending()));

    // Each core has its connections, and the control plane has one more.
    until(|| backends.iter().all(|backend| backend.open_connections() == CORES as u64 + 1)).await;
    let mut tasks = JoinSet::new();
    for _ in 0..12 {
        let channel = grpc_balance::Channel::builder(format!("ipv4:{address}")).build().expect("valid");
        tasks.spawn(async move {
            let mut client = GreeterClient::new(channel);
            for _ in 0..100 {
                client.say_hello(HelloRequest::default()).await.expect("it is answered");
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no call failed");
    }
    assert_eq!(threads.lock().expect("no panic").len(), CORES);
    for backend in &backends {
        // Cores that take turns at the same moment may do so in either order.
        assert!((390..=410).contains(&backend.calls()), "{} of 1200 calls", backend.calls());
    }
    assert_eq!(cluster.stats().outcomes.get(Code::Ok), 1_200);
    assert_eq!(cluster.health().now().healthy_count(), 3);

    // Whatever discovery finds reaches all cores.
    handle.remove(Endpoint::new(backends[0].address()).key());
    until(|| backends[0].open_connections() == 0).await;

    server.drain();
    timeout(SOON, serving).await.expect("it ends").expect("no panic").expect("no error");
    drop(cluster);
    until(|| backends.iter().all(|backend| backend.open_connections() == 0)).await;
}

#[cfg(feature = "probe")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_probe_speaks_for_all_cores() {
    use grpc_balance::{
        health::Thresholds,
        probe::{Probe, Tcp},
    };

    let (alive, dead) = (Greeter::start("alive").await, Greeter::start("dead").await);
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let silent = nobody.local_addr().expect("bound").port();
    drop(nobody);
    let endpoints = [&alive, &dead].map(|backend| Endpoint::new(backend.address()));
    let probe = Probe::from(Tcp::new()).interval(Duration::from_millis(20)).thresholds(Thresholds::new(1, 1));
    // At a port where nobody listens every endpoint fails, and without panic nobody gets calls.
    let cluster = Cluster::builder("test", "backends.test:80")
        .resolver(grpc_balance::discover::Fixed::new(endpoints))
        .probe(probe.port(silent))
        .panic(grpc_balance::health::Panic::fail_fast());
    let cluster = cluster.build().expect("a valid cluster");
    let bound = Server::bind("127.0.0.1:0").linger(Duration::ZERO).listen().expect("a free port");
    let address = bound.local_addrs().next().expect("it listens");
    let of = cluster.clone();
    let serving =
        tokio::spawn(bound.per_core(move |worker| of.on(worker)).cores(2).serve(std::future::pending()));
    for _ in 0..4 {
        let channel = grpc_balance::Channel::builder(format!("ipv4:{address}")).build().expect("valid");
        let status =
            GreeterClient::new(channel).say_hello(HelloRequest::default()).await.expect_err("nobody");
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert!(status.message().contains("no healthy endpoint"), "{status}");
    }
    serving.abort();
}
