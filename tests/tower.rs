//! Tower's own vocabulary at both edges: our connections under tower's balancer, and our balancer over somebody else's
//! discovery.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::hash_map::DefaultHasher,
    future::poll_fn,
    hash::BuildHasherDefault,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use grpc_balance::{
    Balance, Channel, Error,
    balance::{Connectable, Connected, Peer},
    connect::Connector,
    discover::{Feedback, Fixed, FromDiscover, Pushed, PushedHandle, Resolve},
    endpoint::{Endpoint, EndpointSet},
    error::BoxError,
};
use http::uri::Authority;
use http_body::Body as HttpBody;
use support::{
    greeter::Greeter,
    pb::helloworld::{HelloRequest, greeter_client::GreeterClient},
};
use tokio::{sync::mpsc, task::yield_now, time::timeout};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, body::Body, client::GrpcService};
use tower::{Service, balance::p2c, discover::Change, util::rng::HasherRng};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a chi-square of two degrees of freedom exceeds once in ten thousand times.
const CHI_SQUARE_2: f64 = 18.42;

type Request = http::Request<Body>;
type Towers<R> = p2c::Balance<Connected<R, Connector>, Request>;

fn connector() -> Connector {
    Connector::builder(Authority::from_static("greeter.test")).build().expect("there is a runtime")
}

/// Tower's balancer over our connections, with a seed.
fn towers<R: Resolve + Unpin>(resolver: R) -> Towers<R> {
    let random = HasherRng::with_hasher(BuildHasherDefault::<DefaultHasher>::default());
    p2c::Balance::from_rng(resolver.connected(connector()).expect("there is a runtime"), random)
}

async fn greeters<const N: usize>() -> [Greeter; N] {
    let mut all = Vec::new();
    for i in 0..N {
        all.push(Greeter::start(&i.to_string()).await);
    }
    all.try_into().expect("as many as were started")
}

fn endpoints(servers: &[Greeter]) -> Vec<Endpoint> {
    servers.iter().map(|server| Endpoint::new(server.address())).collect()
}

fn pushed(servers: &[Greeter]) -> (PushedHandle, Pushed) {
    let (handle, pushed) = Pushed::new();
    handle.replace(endpoints(servers));
    (handle, pushed)
}

/// Who answered, by its own word and by ours.
async fn call<S>(service: S) -> Result<(String, Peer), Status>
where
    S: GrpcService<Body>,
    S::Error: Into<BoxError>,
    S::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <S::ResponseBody as HttpBody>::Error: Into<BoxError> + Send,
{
    let hello = HelloRequest { name: "you".to_owned() };
    let call = async { GreeterClient::new(service).say_hello(hello).await };
    let reply = timeout(PATIENCE, call).await.expect("the call is stuck")?;
    let peer = reply.extensions().get::<Peer>().expect("a balanced response names its peer").clone();
    Ok((reply.into_inner().message, peer))
}

/// Polls the balancer, which does nothing by itself, until something has happened elsewhere.
async fn drive_until<R: Resolve + Unpin>(balance: &mut Towers<R>, mut happened: impl FnMut() -> bool) {
    let driven = async {
        while !happened() {
            poll_fn(|cx| {
                let _ = Service::poll_ready(balance, cx);
                Poll::Ready(())
            })
            .await;
            yield_now().await;
        }
    };
    timeout(PATIENCE, driven).await.expect("it never happened");
}

/// Makes calls until every server has had one.
async fn until_all_serve<R: Resolve + Unpin>(balance: &mut Towers<R>, servers: &[Greeter]) {
    let all = async {
        while servers.iter().any(|server| server.calls() == 0) {
            call(&mut *balance).await.expect("all are up");
        }
    };
    timeout(PATIENCE, all).await.expect("a server is never called");
}

/// How far 3000 calls are from an even spread over three servers.
async fn chi_square_of_3000<R: Resolve + Unpin>(balance: &mut Towers<R>, servers: &[Greeter; 3]) -> f64 {
    until_all_serve(balance, servers).await;
    let before = servers.each_ref().map(Greeter::calls);
    for _ in 0..3000 {
        let (name, peer) = call(&mut *balance).await.expect("all are up");
        let index: usize = name.parse().expect("servers are numbered");
        assert_eq!(peer.endpoint().to_string(), servers[index].address().to_string());
    }
    let counts = servers.each_ref().map(Greeter::calls);
    let off = counts.iter().zip(before).map(|(now, before)| (now - before) as f64 - 1000.0);
    off.map(|off| off * off / 1000.0).sum()
}

/// Passes on what a resolver hears of its endpoints.
struct Overheard<R>(R, mpsc::UnboundedSender<Feedback>);

impl<R: Resolve + Unpin> Resolve for Overheard<R> {
    fn poll_resolve(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Arc<EndpointSet>, Error>>> {
        Pin::new(&mut self.0).poll_resolve(cx)
    }

    fn feedback(self: Pin<&mut Self>, feedback: Feedback) {
        let _ = self.1.send(feedback);
    }
}

#[tokio::test]
async fn towers_balancer_spreads_calls_over_pushed_endpoints() {
    let servers = greeters::<3>().await;
    let (_handle, pushed) = pushed(&servers);
    let chi_square = chi_square_of_3000(&mut towers(pushed), &servers).await;
    assert!(chi_square < CHI_SQUARE_2, "{chi_square}");
}

#[tokio::test]
async fn towers_balancer_spreads_calls_over_fixed_endpoints() {
    let servers = greeters::<3>().await;
    let chi_square = chi_square_of_3000(&mut towers(Fixed::new(endpoints(&servers))), &servers).await;
    assert!(chi_square < CHI_SQUARE_2, "{chi_square}");
}

#[tokio::test]
async fn towers_balancer_sees_the_load_of_our_connections() {
    let servers = greeters::<2>().await;
    let (_handle, pushed) = pushed(&servers);
    let mut balance = towers(pushed);
    until_all_serve(&mut balance, &servers).await;
    servers.iter().for_each(|server| server.set_delay(Duration::from_secs(3600)));
    let before = servers.each_ref().map(Greeter::calls);
    // Of two endpoints the less busy one is taken, so ten calls that hang are five and five.
    let mut hanging = Vec::new();
    for n in 1..=10 {
        poll_fn(|cx| Service::poll_ready(&mut balance, cx)).await.expect("both are up");
        let request = http::Request::post("/helloworld.Greeter/SayHello").body(Body::empty());
        hanging.push(tokio::spawn(Service::call(&mut balance, request.expect("a good request"))));
        drive_until(&mut balance, || servers.iter().map(Greeter::in_flight).sum::<u64>() == n).await;
    }
    let calls = servers.each_ref().map(Greeter::calls);
    assert_eq!([calls[0] - before[0], calls[1] - before[1]], [5, 5]);
    hanging.iter().for_each(|call| call.abort());
}

#[tokio::test]
async fn a_removed_endpoints_socket_closes_under_towers_balancer() {
    let servers = greeters::<2>().await;
    let (handle, pushed) = pushed(&servers);
    let mut balance = towers(pushed);
    until_all_serve(&mut balance, &servers).await;
    assert_eq!(servers[0].open_connections(), 1);
    handle.remove(Endpoint::new(servers[0].address()).key());
    drive_until(&mut balance, || servers[0].open_connections() == 0).await;
    let before = servers[0].calls();
    for _ in 0..100 {
        assert_eq!(call(&mut balance).await.expect("one is up").0, "1");
    }
    assert_eq!((servers[0].calls(), servers[0].accepted()), (before, 1));
    assert_eq!((servers[1].open_connections(), servers[1].accepted()), (1, 1));
}

#[tokio::test]
async fn a_killed_endpoint_gets_no_calls_and_comes_back_and_its_resolver_hears_of_it() {
    let servers = greeters::<2>().await;
    let (_handle, pushed) = pushed(&servers);
    let (heard, mut feedback) = mpsc::unbounded_channel();
    let mut balance = towers(Overheard(pushed, heard));
    until_all_serve(&mut balance, &servers).await;
    for _ in 0..2 {
        let heard = timeout(PATIENCE, feedback.recv()).await.expect("the resolver hears of its endpoints");
        assert!(matches!(heard, Some(Feedback::Connected(_))), "{heard:?}");
    }

    let [alive, dying] = servers;
    let address = dying.address();
    let key = Endpoint::new(address).key().clone();
    dying.kill();
    // It is lost, and the first attempt to reconnect is refused: now everybody knows.
    let mut losses = 0;
    drive_until(&mut balance, || {
        while let Ok(heard) = feedback.try_recv() {
            assert!(matches!(&heard, Feedback::Failed(lost) if *lost == key), "{heard:?}");
            losses += 1;
        }
        losses >= 2
    })
    .await;
    for _ in 0..200 {
        assert_eq!(call(&mut balance).await.expect("one is up").0, alive.name());
    }

    let back = Greeter::builder("back").at(address).start().await;
    let servers = [alive, back];
    until_all_serve(&mut balance, &servers).await;
    let heard = std::iter::from_fn(|| feedback.try_recv().ok()).last();
    assert!(matches!(&heard, Some(Feedback::Connected(found)) if *found == key), "{heard:?}");
}

#[tokio::test]
async fn a_changed_weight_keeps_the_connection_under_towers_balancer() {
    let servers = greeters::<1>().await;
    let (handle, pushed) = pushed(&servers);
    let mut balance = towers(pushed);
    let (_, peer) = call(&mut balance).await.expect("it is up");
    assert_eq!(peer.endpoint().weight(), 1);
    handle.insert(Endpoint::new(servers[0].address()).with_weight(5));
    let changed = async { while call(&mut balance).await.expect("it is up").1.endpoint().weight() != 5 {} };
    timeout(PATIENCE, changed).await.expect("the weight never changes");
    assert_eq!(servers[0].accepted(), 1);
}

/// Changes that a program sends, as a tower `Discover` with keys of its own.
type Changes = mpsc::UnboundedSender<Result<Change<&'static str, Endpoint>, std::io::Error>>;

fn somebody_elses(servers: &[Greeter; 2]) -> (Changes, impl Resolve) {
    let (changes, discover) = mpsc::unbounded_channel();
    for (key, server) in ["pod-0", "pod-1"].into_iter().zip(servers) {
        let endpoint = Endpoint::new(server.address());
        changes.send(Ok(Change::Insert(key, endpoint))).expect("it is discovered");
    }
    (changes, FromDiscover::new(UnboundedReceiverStream::new(discover)))
}

/// Both serve; an error of the discovery changes nothing; a removal closes the socket, and nobody polls anything.
async fn follows<S>(service: S, changes: Changes, servers: [Greeter; 2], heard_the_error: impl AsyncFnOnce())
where
    S: GrpcService<Body> + Clone,
    S::Error: Into<BoxError>,
    S::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <S::ResponseBody as HttpBody>::Error: Into<BoxError> + Send,
{
    let all = async {
        while servers.iter().any(|server| server.calls() == 0) {
            call(service.clone()).await.expect("both are up");
        }
    };
    timeout(PATIENCE, all).await.expect("a server is never called");
    changes.send(Err(std::io::Error::other("a hiccup"))).expect("it is discovered");
    heard_the_error().await;
    for _ in 0..20 {
        call(service.clone()).await.expect("the last set stays");
    }
    changes.send(Ok(Change::Remove("pod-0"))).expect("it is discovered");
    let closed = async {
        while servers[0].open_connections() > 0 {
            yield_now().await
        }
    };
    timeout(PATIENCE, closed).await.expect("the socket of a removed endpoint stays open");
    for _ in 0..20 {
        assert_eq!(call(service.clone()).await.expect("one is up").0, "1");
    }
    assert_eq!(servers.each_ref().map(Greeter::accepted), [1, 1]);
}

#[tokio::test]
async fn our_balancer_follows_somebody_elses_discovery() {
    let servers = greeters::<2>().await;
    let (changes, resolver) = somebody_elses(&servers);
    let balance = Balance::builder(resolver, connector()).build().expect("there is a runtime");
    let stats = balance.clone();
    let heard = async || {
        while stats.stats().failed_resolutions == 0 {
            yield_now().await
        }
    };
    follows(balance, changes, servers, heard).await;
}

#[tokio::test]
async fn a_channel_follows_somebody_elses_discovery() {
    let servers = greeters::<2>().await;
    let (changes, resolver) = somebody_elses(&servers);
    let channel = Channel::builder("pods").resolver(resolver).build().expect("a valid channel");
    let stats = channel.clone();
    let heard = async || {
        while stats.stats().failed_resolutions == 0 {
            yield_now().await
        }
    };
    follows(channel, changes, servers, heard).await;
}
