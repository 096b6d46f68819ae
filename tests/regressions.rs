//! Measured failures of other gRPC balancers, each with its set-up, none of which may happen here.
//!
//! E1 to E4 and E6 to E10 were observed with tonic 0.14.9's `Channel::balance_list` and with `grpc` 0.9 (E8).

mod support;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use grpc_balance::{
    Channel, Error, WaitForReady,
    discover::{Fixed, Pushed},
    endpoint::Endpoint,
    grpc::Code,
    policy::{P2c, Policy},
};
use support::{
    greeter::{Action, Greeter},
    pb::helloworld::{HelloRequest, greeter_client::GreeterClient},
};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, timeout},
};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An address on which nothing listens.
async fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("bound")
}

fn channel_to(addresses: impl IntoIterator<Item = SocketAddr>) -> Channel {
    channel_with(addresses, P2c::least_pending())
}

fn channel_with(addresses: impl IntoIterator<Item = SocketAddr>, policy: impl Policy) -> Channel {
    let endpoints = Fixed::new(addresses.into_iter().map(Endpoint::new));
    Channel::builder("test").resolver(endpoints).policy(policy).build().expect("a valid channel")
}

async fn call(channel: &Channel) -> Result<String, Error> {
    let mut client = GreeterClient::new(channel.clone());
    let reply = client.say_hello(HelloRequest { name: "you".to_owned() }).await;
    reply.map(|reply| reply.into_inner().message).map_err(|status| ours(&status))
}

/// The crate's error behind a status that did not come from a server.
fn ours(status: &tonic::Status) -> Error {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<Error>() {
            return error.clone();
        }
        source = error.source();
    }
    Error::new(Code::from_number(status.code() as u32), grpc_balance::error::Phase::Stream, status.message())
}

/// Runs `callers` closed loops until `until`, and hands each result to `each`.
async fn closed_loop(
    channel: &Channel,
    callers: usize,
    until: Instant,
    each: impl Fn(Result<String, Error>) + Send + Sync + 'static,
) {
    let each = Arc::new(each);
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (channel, each) = (channel.clone(), each.clone());
        tasks.spawn(async move {
            while Instant::now() < until {
                each(call(&channel).await);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("callers do not panic");
    }
}

#[tokio::test]
async fn e1_no_call_goes_to_a_refusing_endpoint() {
    let (a, b) = (Greeter::start("a").await, Greeter::start("b").await);
    let channel = channel_to([a.address(), b.address(), closed_port().await]);
    let mut failed = 0;
    for _ in 0..3000 {
        failed += u32::from(call(&channel).await.is_err());
    }
    assert_eq!(failed, 0, "of 3000 calls with one of three endpoints refusing");
}

#[tokio::test(start_paused = true)]
async fn e2_a_deadline_holds_while_nothing_is_resolved_and_on_an_empty_set() {
    for resolved in [false, true] {
        let (handle, pushed) = Pushed::new();
        if resolved {
            handle.replace(Vec::<Endpoint>::new());
        }
        let channel = Channel::builder("nowhere").resolver(pushed).build().expect("a valid channel");
        let mut request = tonic::Request::new(HelloRequest { name: "you".to_owned() });
        request.set_timeout(ms(300));
        request.extensions_mut().insert(WaitForReady(resolved));
        let started = Instant::now();
        let status = GreeterClient::new(channel).say_hello(request).await.expect_err("there is no endpoint");
        assert_eq!(ours(&status).code(), Code::DeadlineExceeded, "resolved: {resolved}: {status}");
        let waited = started.elapsed();
        assert!(waited >= ms(299) && waited <= ms(302), "resolved: {resolved}: {waited:?}");
        drop(handle);
    }
}

#[tokio::test]
async fn e3_no_error_outlives_the_recovery_of_its_endpoint() {
    let a = Greeter::start("a").await;
    let closed = closed_port().await;
    let channel = channel_to([a.address(), closed]);
    for _ in 0..50 {
        call(&channel).await.expect("one endpoint is up");
    }
    let b = Greeter::builder("b").at(closed).start().await;
    channel.ready(2, Duration::from_secs(10)).await.expect("the second endpoint is found");
    for _ in 0..60 {
        call(&channel).await.expect("both endpoints are up");
    }
    assert!(b.calls() > 0, "the recovered endpoint takes part");
}

#[tokio::test]
async fn e4_a_hundred_times_slower_endpoint_gets_a_tenth_or_less() {
    let fast = Greeter::builder("fast").delay(ms(2)).start().await;
    let slow = Greeter::builder("slow").delay(ms(200)).start().await;
    let channel = channel_to([fast.address(), slow.address()]);
    channel.ready(2, Duration::from_secs(10)).await.expect("both are up");
    closed_loop(&channel, 50, Instant::now() + Duration::from_secs(4), |result| {
        result.expect("nothing fails");
    })
    .await;
    assert!(fast.calls() >= 10 * slow.calls(), "fast {} slow {}", fast.calls(), slow.calls());
}

#[tokio::test]
async fn e6_a_removed_endpoints_socket_closes_while_the_channel_idles() {
    let a = Greeter::start("a").await;
    let (handle, pushed) = Pushed::new();
    let endpoint = Endpoint::new(a.address());
    handle.insert(endpoint.clone());
    let channel = Channel::builder("test").resolver(pushed).build().expect("a valid channel");
    call(&channel).await.expect("the endpoint is up");
    assert_eq!(a.open_connections(), 1);
    handle.remove(endpoint.key());
    let mut watch = channel.watch();
    watch.wait_for(|now| now.endpoints() == 0).await.expect("the channel lives");
    let closed = timeout(Duration::from_secs(1), async {
        while a.open_connections() > 0 {
            tokio::task::yield_now().await;
        }
    });
    closed.await.expect("the socket is closed within a second of the removal");
}

/// Two servers, 100 callers for 5 s, one server in turn every 10 ms told to do `disturb`. Returns calls and errors.
async fn disturbed(disturb: fn(&Greeter)) -> (usize, Vec<Error>) {
    let servers = [Greeter::start("a").await, Greeter::builder("b").delay(ms(5)).start().await];
    let channel = channel_to(servers.iter().map(Greeter::address));
    channel.ready(2, Duration::from_secs(10)).await.expect("both are up");
    let until = Instant::now() + Duration::from_secs(5);
    let disturber = tokio::spawn(async move {
        let mut every = tokio::time::interval(ms(10));
        for turn in 0.. {
            every.tick().await;
            if Instant::now() >= until {
                break;
            }
            disturb(&servers[turn % 2]);
        }
        servers
    });
    let calls = Arc::new(AtomicUsize::new(0));
    let errors = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (counted, collected) = (calls.clone(), errors.clone());
    closed_loop(&channel, 100, until, move |result| {
        counted.fetch_add(1, SeqCst);
        if let Err(error) = result {
            collected.lock().expect("no panic").push(error);
        }
    })
    .await;
    disturber.await.expect("the servers do not panic");
    let errors = errors.lock().expect("no panic").clone();
    (calls.load(SeqCst), errors)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e7_a_graceful_goaway_costs_no_call() {
    let (calls, errors) = disturbed(Greeter::go_away).await;
    assert!(errors.is_empty(), "{} of {calls} failed: {:?}", errors.len(), errors.first());
    assert!(calls > 1000, "calls go on while connections go away: {calls}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e7_an_abrupt_goaway_costs_only_calls_on_the_broken_pipe() {
    let (calls, errors) = disturbed(Greeter::go_away_and_close).await;
    let elsewhere: Vec<_> = errors
        .iter()
        .filter(|error| {
            error.code() != Code::Unavailable
                || error.phase() != grpc_balance::error::Phase::Stream
                || error.endpoint().is_none()
                || error.is_safe_to_retry()
        })
        .collect();
    assert!(elsewhere.is_empty(), "{} of {calls}: {:?}", elsewhere.len(), elsewhere.first());
    println!("{} of {calls} calls were in flight on a broken pipe", errors.len());
}

#[tokio::test(start_paused = true)]
async fn e8_attempts_to_a_refused_port_follow_the_backoff_curve() {
    let attempts = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = attempts.clone();
    let dialler = tower::service_fn(move |_: grpc_balance::endpoint::Address| {
        seen.lock().expect("no panic").push(Instant::now());
        async {
            Err::<tokio::io::DuplexStream, _>(std::io::Error::from(std::io::ErrorKind::ConnectionRefused))
        }
    });
    let endpoint = Endpoint::new(SocketAddr::from(([127, 0, 0, 1], 1)));
    let channel = Channel::builder("test")
        .resolver(Fixed::new([endpoint]))
        .dial(dialler)
        .build()
        .expect("a valid channel");
    tokio::time::sleep(Duration::from_secs(11)).await;
    drop(channel);
    let attempts = attempts.lock().expect("no panic");
    let gaps: Vec<f64> = attempts.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    let curve = [1.0, 1.6, 2.56, 4.096];
    assert!(gaps.len() >= 4, "{gaps:?}");
    for (i, (gap, expected)) in gaps.iter().zip(curve).enumerate() {
        let tolerance = if i == 0 { 0.005 } else { expected * 0.2 + 0.005 };
        assert!((gap - expected).abs() <= tolerance, "gap {i} of {gaps:?} is not {expected}");
    }
}

/// Calls that 40 callers complete in 5 s against two backends at 20 ms a call.
async fn throughput(limit: Option<u32>) -> u64 {
    let mut limited = Greeter::builder("limited").delay(ms(20));
    if let Some(limit) = limit {
        limited = limited.max_concurrent_streams(limit);
    }
    let (a, b) = (limited.start().await, Greeter::builder("free").delay(ms(20)).start().await);
    let channel = channel_to([a.address(), b.address()]);
    channel.ready(2, Duration::from_secs(10)).await.expect("both are up");
    closed_loop(&channel, 40, Instant::now() + Duration::from_secs(5), |result| {
        result.expect("nothing fails");
    })
    .await;
    a.calls() + b.calls()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e9_a_backend_with_few_streams_does_not_hold_up_the_others() {
    let control = throughput(None).await;
    let limited = throughput(Some(2)).await;
    assert!(limited * 10 >= control * 9, "{limited} calls with a limited backend, {control} without");
}

#[tokio::test]
async fn e10_a_refusing_endpoint_fails_no_call_after_the_first_second() {
    for policy in [P2c::least_pending(), P2c::peak_ewma()] {
        let mut servers = Vec::new();
        for name in ["a", "b", "c", "d"] {
            servers.push(Greeter::builder(name).delay(ms(10)).start().await);
        }
        let mut addresses: Vec<_> = servers.iter().map(Greeter::address).collect();
        addresses.push(closed_port().await);
        let channel = channel_with(addresses, policy);
        let started = Instant::now();
        let failed = Arc::new(AtomicU64::new(0));
        let counted = failed.clone();
        closed_loop(&channel, 50, started + Duration::from_secs(3), move |result| {
            if result.is_err() && started.elapsed() > Duration::from_secs(1) {
                counted.fetch_add(1, SeqCst);
            }
        })
        .await;
        assert_eq!(failed.load(SeqCst), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e10_an_endpoint_that_fails_fast_attracts_no_calls() {
    for policy in [P2c::least_pending(), P2c::peak_ewma()] {
        let failing = Greeter::builder("failing")
            .hook(|_| Action::Fail(tonic::Status::unavailable("overloaded")))
            .start()
            .await;
        let mut servers = Vec::new();
        for name in ["a", "b", "c", "d"] {
            servers.push(Greeter::builder(name).delay(ms(10)).start().await);
        }
        let channel = channel_with(servers.iter().map(Greeter::address).chain([failing.address()]), policy);
        channel.ready(5, Duration::from_secs(10)).await.expect("all are up");
        let left = Arc::new(AtomicU64::new(20_000));
        let mut tasks = JoinSet::new();
        for _ in 0..50 {
            let (channel, left) = (channel.clone(), left.clone());
            tasks.spawn(async move {
                while left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
                    let _ = call(&channel).await;
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("callers do not panic");
        }
        let even = 20_000 / 5;
        assert!(failing.calls() * 10 <= even * 11, "{} of an even share of {even}", failing.calls());
    }
}
