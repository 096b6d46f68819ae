//! Backends that die and backends that stop, as processes of their own, under load and without any probe.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod backend;
mod failing;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use grpc_balance::{Channel, Error, discover::Fixed, endpoint::Endpoint};
use support::pb::helloworld::{HelloRequest, greeter_client::GreeterClient};
use tokio::{task::JoinSet, time::Instant};

use self::backend::Backend;

const CALLERS: usize = 200;

/// One call as its caller saw it.
struct Seen {
    started: Instant,
    ended: Instant,
    /// Who answered, or whom the error names.
    endpoint: Option<SocketAddr>,
    error: Option<String>,
}

fn ours(status: &tonic::Status) -> Option<Error> {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<Error>() {
            return Some(error.clone());
        }
        source = error.source();
    }
    None
}

fn address(endpoint: &Endpoint) -> Option<SocketAddr> {
    endpoint.to_string().parse().ok()
}

async fn call(mut client: GreeterClient<Channel>) -> Seen {
    let started = Instant::now();
    let result = client.say_hello(HelloRequest { name: "you".to_owned() }).await;
    let ended = Instant::now();
    let (endpoint, error) = match result {
        Ok(reply) => {
            let peer = reply.extensions().get::<grpc_balance::Peer>().expect("the endpoint is told");
            (address(peer.endpoint()), None)
        }
        Err(status) => {
            let ours = ours(&status).expect("the error is this crate's");
            (ours.endpoint().and_then(|endpoint| address(endpoint)), Some(ours.report().to_string()))
        }
    };
    Seen { started, ended, endpoint, error }
}

/// Calls from many callers, until told to stop.
struct Load {
    tasks: JoinSet<()>,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
}

impl Load {
    fn start(channel: &Channel) -> Self {
        let (seen, stop) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<AtomicBool>::default());
        let mut tasks = JoinSet::new();
        for _ in 0..CALLERS {
            let (client, seen, stop) = (GreeterClient::new(channel.clone()), seen.clone(), stop.clone());
            tasks.spawn(async move {
                while !stop.load(SeqCst) {
                    let call = call(client.clone()).await;
                    seen.lock().expect("no panic").push(call);
                }
            });
        }
        Self { tasks, seen, stop }
    }

    async fn stop(self) -> Vec<Seen> {
        self.stop.store(true, SeqCst);
        let Self { mut tasks, seen, .. } = self;
        while let Some(ended) = tasks.join_next().await {
            ended.expect("callers do not panic");
        }
        std::mem::take(&mut *seen.lock().expect("no panic"))
    }
}

async fn three() -> (Vec<Backend>, Channel) {
    let mut backends = Vec::new();
    for _ in 0..3 {
        backends.push(Backend::start(Duration::from_millis(5)).await);
    }
    let endpoints = Fixed::new(backends.iter().map(|backend| Endpoint::new(backend.address())));
    let channel = Channel::builder("test").resolver(endpoints).build().expect("a valid channel");
    channel.ready(3, Duration::from_secs(10)).await.expect("all are up");
    (backends, channel)
}

fn by_endpoint(calls: &[Seen]) -> HashMap<Option<SocketAddr>, usize> {
    let mut counts = HashMap::new();
    for call in calls {
        *counts.entry(call.endpoint).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_killed_costs_only_the_calls_that_it_was_processing() {
    let (mut backends, channel) = three().await;
    let load = Load::start(&channel);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let victim = backends.remove(0);
    let dead = victim.address();
    // Its calls in flight are what it was processing, or what was on its way to it.
    let before = Instant::now();
    victim.kill();
    let killed = Instant::now();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let calls = load.stop().await;

    assert!(by_endpoint(&calls).len() >= 3, "all took part: {:?}", by_endpoint(&calls));
    let failed: Vec<&Seen> = calls.iter().filter(|call| call.error.is_some()).collect();
    for call in &failed {
        assert_eq!(call.endpoint, Some(dead), "{:?}", call.error);
        assert!(call.ended >= before);
    }
    // A call that was on its way as the process died proves nothing either way: nobody can tell whether it arrived.
    // Once the first of them has failed, the connection is known to be broken, and no other call goes out on it.
    let broke = failed.iter().map(|call| call.ended).min().unwrap_or(killed);
    for call in &failed {
        assert!(call.started <= broke, "a call that began later failed: {:?}", call.error);
    }
    assert!(failed.len() <= CALLERS, "{} failed", failed.len());
    // The connection breaks as the process ends; what the kernel needs for it is a moment.
    let moment = killed + Duration::from_millis(200);
    let late = calls.iter().filter(|call| call.endpoint == Some(dead) && call.started > moment).count();
    assert_eq!(late, 0, "calls that went to it after its connection broke");
    assert!(calls.iter().filter(|call| call.started > moment).count() > CALLERS, "the others served on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_on_a_stopped_backend_fail_within_16_s_and_name_it() {
    let (backends, channel) = three().await;
    let load = Load::start(&channel);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let stopped = backends[0].address();
    backends[0].stop();
    let at = Instant::now();
    tokio::time::sleep(Duration::from_secs(18)).await;
    let calls = load.stop().await;

    let failed: Vec<&Seen> = calls.iter().filter(|call| call.error.is_some()).collect();
    assert!(!failed.is_empty(), "some calls were outstanding on it");
    let mut noticed = at;
    for call in &failed {
        assert_eq!(call.endpoint, Some(stopped), "{:?}", call.error);
        assert!(call.ended - at <= Duration::from_secs(16), "it failed {:?} after the stop", call.ended - at);
        noticed = noticed.max(call.ended);
    }
    let late = calls.iter().filter(|call| call.endpoint == Some(stopped) && call.started > noticed).count();
    assert_eq!(late, 0, "calls that went to it after it was noticed");
    assert!(calls.iter().filter(|call| call.started > noticed).count() > CALLERS, "the others served on");
    backends[0].go_on();
}
