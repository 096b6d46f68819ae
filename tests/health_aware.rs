//! A channel that asks its backends how they are: real `grpc.health.v1` servers on loopback.
#![cfg(feature = "probe")]

mod support;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::StreamExt as _;
use grpc_balance::{
    Channel, Peer,
    discover::Pushed,
    endpoint::Endpoint,
    grpc::Code,
    health::{Panic, Summary, Thresholds},
    policy::RoundRobin,
    probe::{Grpc, Probe, Probed, Tcp},
};
use support::pb::helloworld::{
    HelloReply, HelloRequest,
    greeter_client::GreeterClient,
    greeter_server::{Greeter, GreeterServer},
};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};
use tonic_health::{ServingStatus, server::HealthReporter};

const SERVICE: &str = "helloworld.Greeter";

struct Hello;

#[tonic::async_trait]
impl Greeter for Hello {
    async fn say_hello(&self, _: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        Ok(Response::new(HelloReply::default()))
    }
}

/// A greeter that says how it is.
struct Backend {
    address: SocketAddr,
    reporter: HealthReporter,
    accepted: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Backend {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_service_status(SERVICE, ServingStatus::Serving).await;
        let accepted = Arc::<AtomicUsize>::default();
        let count = accepted.clone();
        let incoming = TcpListenerStream::new(listener).inspect(move |_| {
            count.fetch_add(1, SeqCst);
        });
        let server = Server::builder().add_service(GreeterServer::new(Hello)).add_service(health);
        let server = tokio::spawn(async move {
            let _ = server.serve_with_incoming(incoming).await;
        });
        Self { address, reporter, accepted, server }
    }

    async fn set(&self, status: ServingStatus) {
        self.reporter.set_service_status(SERVICE, status).await;
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn backends(count: usize) -> Vec<Backend> {
    let mut backends = Vec::new();
    for _ in 0..count {
        backends.push(Backend::start().await);
    }
    backends
}

fn channel_to(backends: &[Backend]) -> grpc_balance::channel::Builder {
    let (handle, pushed) = Pushed::new();
    handle.replace(backends.iter().map(|backend| Endpoint::new(backend.address)));
    Channel::builder("test").resolver(pushed).policy(RoundRobin::new())
}

fn often(check: impl Into<Probe>) -> Probe {
    check.into().interval(Duration::from_millis(20)).jitter(Duration::ZERO).thresholds(Thresholds::new(1, 1))
}

async fn until(channel: &Channel, condition: impl Fn(&Summary) -> bool) {
    let mut watch = channel.health().watch();
    let waited = timeout(Duration::from_secs(10), watch.wait_for(condition)).await;
    waited.expect("it comes about").expect("the channel lives");
}

/// Who answers thirty calls.
async fn who(channel: &Channel) -> BTreeSet<String> {
    let mut client = GreeterClient::new(channel.clone());
    let mut who = BTreeSet::new();
    for _ in 0..30 {
        let reply = client.say_hello(HelloRequest::default()).await.expect("it is answered");
        let peer = reply.extensions().get::<Peer>().expect("the endpoint is told");
        who.insert(peer.endpoint().to_string());
    }
    who
}

fn names<'a>(backends: impl IntoIterator<Item = &'a Backend>) -> BTreeSet<String> {
    backends.into_iter().map(|backend| backend.address.to_string()).collect()
}

#[tokio::test]
async fn a_backend_that_says_not_serving_gets_no_calls_until_it_serves() {
    for probe in [often(Grpc::new(SERVICE)), often(Grpc::watch(SERVICE))] {
        let backends = backends(3).await;
        let channel = channel_to(&backends).probe(probe).build().expect("a valid channel");
        until(&channel, |now| now.healthy_count() == 3).await;
        assert_eq!(who(&channel).await, names(&backends));
        backends[1].set(ServingStatus::NotServing).await;
        until(&channel, |now| now.healthy_count() == 2).await;
        assert_eq!(who(&channel).await, names([&backends[0], &backends[2]]));
        let health = channel.health().now();
        assert!(health.unfit_endpoints()[0].1.contains("NOT_SERVING"), "{:?}", health.unfit_endpoints());
        backends[1].set(ServingStatus::Serving).await;
        until(&channel, |now| now.healthy_count() == 3).await;
        assert_eq!(who(&channel).await, names(&backends));
    }
}

#[tokio::test]
async fn a_watch_needs_no_connection_of_its_own_and_a_check_has_one() {
    for (probe, connections) in [(often(Grpc::watch(SERVICE)), 1), (often(Grpc::new(SERVICE)), 2)] {
        let backends = backends(2).await;
        let channel = channel_to(&backends).probe(probe).build().expect("a valid channel");
        until(&channel, |now| now.healthy_count() == 2).await;
        who(&channel).await;
        for backend in &backends {
            assert_eq!(backend.accepted.load(SeqCst), connections);
        }
    }
}

#[tokio::test]
async fn a_wrong_service_name_fails_every_endpoint_and_says_so() {
    let backends = backends(2).await;
    let builder = channel_to(&backends).probe(often(Grpc::new("greeter.Typo"))).panic(Panic::fail_fast());
    let channel = builder.build().expect("a valid channel");
    until(&channel, |now| now.total_count() == 2 && now.awaiting_count() == 0).await;
    let mut client = GreeterClient::new(channel);
    let status = client.say_hello(HelloRequest::default()).await.expect_err("nobody is healthy");
    assert_eq!(status.code() as u32, Code::Unavailable.number());
    assert!(status.message().contains("greeter.Typo"), "{status}");
}

#[tokio::test]
async fn a_tcp_probe_notices_that_nothing_listens_any_more() {
    let mut backends = backends(2).await;
    let channel = channel_to(&backends).probe(often(Tcp::new())).build().expect("a valid channel");
    until(&channel, |now| now.healthy_count() == 2).await;
    drop(backends.remove(0));
    until(&channel, |now| now.healthy_count() == 1 && now.unfit_endpoints().len() == 1).await;
    assert_eq!(who(&channel).await, names(&backends));
}

#[tokio::test]
async fn verdicts_that_come_with_endpoints_count_as_those_of_a_probe() {
    let backends = backends(2).await;
    let (handle, pushed) = Pushed::new();
    handle.replace(backends.iter().map(|backend| Endpoint::new(backend.address)));
    let connector = grpc_balance::connect::Connector::builder(http::uri::Authority::from_static("test"));
    let connector = connector.build().expect("a valid connector");
    let probed = Probed::new(pushed, often(Grpc::new(SERVICE)), &connector);
    let channel = Channel::builder("test").resolver(probed).policy(RoundRobin::new());
    let channel = channel.build().expect("a valid channel");
    until(&channel, |now| now.healthy_count() == 2).await;
    assert_eq!(who(&channel).await, names(&backends));
    backends[0].set(ServingStatus::NotServing).await;
    until(&channel, |now| now.healthy_count() == 1).await;
    assert_eq!(who(&channel).await, names([&backends[1]]));
}
