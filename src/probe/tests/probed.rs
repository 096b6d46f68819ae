use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use super::{
    answers::answer,
    scripted::{Dial, dials, error, probing},
};
use crate::{
    connect::Worker,
    discover::{Feedback, Fixed, Pushed, PushedHandle, Resolve},
    endpoint::{Endpoint, EndpointSet},
    error::Error,
    health::{Thresholds, proto::ServingStatus::*},
    probe::{Grpc, Probe, Probed},
};

type Dials = mpsc::UnboundedReceiver<Dial>;

fn over<R: Resolve>(resolver: R) -> (Pin<Box<Probed<R>>>, Dials) {
    let (open, dials) = dials();
    let probe = Probe::from(Grpc::new("")).jitter(Duration::ZERO).thresholds(Thresholds::new(1, 1));
    let worker = Worker::current().expect("a runtime");
    (Box::pin(Probed::with(resolver, probing(probe, open), worker)), dials)
}

fn pushed() -> (PushedHandle, Pin<Box<Probed<Pushed>>>, Dials) {
    let (handle, resolver) = Pushed::new();
    let (probed, dials) = over(resolver);
    (handle, probed, dials)
}

fn endpoint(port: u16) -> Endpoint {
    SocketAddr::from(([192, 0, 2, 1], port)).into()
}

async fn next<R: Resolve>(probed: &mut Pin<Box<R>>) -> Option<Result<Arc<EndpointSet>, Error>> {
    let next = poll_fn(|cx| probed.as_mut().poll_resolve(cx));
    timeout(Duration::from_secs(3_600), next).await.expect("no set came")
}

async fn set<R: Resolve>(probed: &mut Pin<Box<R>>) -> String {
    told(&next(probed).await.expect("it goes on").expect("a set"))
}

fn told(set: &EndpointSet) -> String {
    let one = |endpoint: &Arc<Endpoint>| {
        let port = endpoint.to_string().split(':').next_back().unwrap_or_default().to_owned();
        let verdict = endpoint.verdict().map_or_else(|| "?".to_owned(), ToString::to_string);
        format!("{port} {verdict}")
    };
    set.endpoints().iter().map(one).collect::<Vec<_>>().join(", ")
}

async fn silent<R: Resolve>(probed: &mut Pin<Box<R>>, time: Duration) {
    let next = poll_fn(|cx| probed.as_mut().poll_resolve(cx));
    assert!(timeout(time, next).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn every_endpoint_is_yielded_at_once_and_none_is_removed_for_its_verdict() {
    let (handle, mut probed, mut dials) = pushed();
    handle.replace([endpoint(1), endpoint(2)]);
    assert_eq!(set(&mut probed).await, "1 ?, 2 ?");
    let (first, second) = (dials.recv().await.expect("a dial"), dials.recv().await.expect("a dial"));
    assert_eq!(first.endpoint.to_string(), "192.0.2.1:1");
    first.accept().always(|| answer(Serving));
    assert_eq!(set(&mut probed).await, "1 passing, 2 ?");
    second.refuse();
    assert_eq!(set(&mut probed).await, "1 passing, 2 failing: connect: connection refused");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_comes_back_starts_from_no_verdict() {
    let (handle, mut probed, mut dials) = pushed();
    handle.replace([endpoint(1), endpoint(2)]);
    assert_eq!(set(&mut probed).await, "1 ?, 2 ?");
    let mut peer = dials.recv().await.expect("a dial").accept();
    peer.call().await.say(NotServing);
    assert_eq!(set(&mut probed).await, "1 failing: NOT_SERVING, 2 ?");
    handle.remove(endpoint(1).key());
    assert_eq!(set(&mut probed).await, "2 ?");
    assert!(peer.calls.recv().await.is_none(), "nobody probes it any more");
    handle.insert(endpoint(1));
    assert_eq!(set(&mut probed).await, "2 ?, 1 ?");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_whose_attributes_change_keeps_its_verdict_and_its_connection() {
    let (handle, mut probed, mut dials) = pushed();
    handle.insert(endpoint(1));
    set(&mut probed).await;
    let mut peer = dials.recv().await.expect("a dial").accept();
    peer.call().await.say(Serving);
    assert_eq!(set(&mut probed).await, "1 passing");
    handle.insert(endpoint(1).with_weight(7));
    let set = next(&mut probed).await.expect("it goes on").expect("a set");
    assert_eq!(told(&set), "1 passing");
    assert_eq!(set.endpoints()[0].weight(), 7);
    peer.call().await.say(Serving);
    assert!(dials.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn what_has_not_changed_is_the_same_endpoint_and_as_old_as_it_was() {
    let (handle, mut probed, mut dials) = pushed();
    handle.replace([endpoint(1), endpoint(2)]);
    let first = next(&mut probed).await.expect("it goes on").expect("a set");
    let _hangs = dials.recv().await.expect("a dial");
    dials.recv().await.expect("a dial").accept().always(|| answer(Serving));
    let second = next(&mut probed).await.expect("it goes on").expect("a set");
    assert_eq!(told(&second), "1 ?, 2 passing");
    assert!(Arc::ptr_eq(&first.endpoints()[0], &second.endpoints()[0]));
    assert!(second.generation() > first.generation());
    assert_eq!(second.resolved_at(), first.resolved_at(), "a verdict is no news of discovery");
    silent(&mut probed, Duration::from_millis(500)).await;
}

#[tokio::test(start_paused = true)]
async fn thousands_of_verdicts_make_a_few_sets() {
    let (handle, mut probed, mut dials) = pushed();
    handle.replace((1..=2_000).map(endpoint));
    set(&mut probed).await;
    tokio::spawn(async move {
        while let Some(dial) = dials.recv().await {
            dial.accept().always(|| answer(Serving));
        }
    });
    let (begun, mut sets) = (Instant::now(), 0);
    loop {
        let set = next(&mut probed).await.expect("it goes on").expect("a set");
        sets += 1;
        if set.endpoints().iter().all(|endpoint| endpoint.verdict().is_some()) {
            break;
        }
    }
    assert!(sets <= 5, "{sets}");
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn dropping_it_ends_the_probing() {
    let (handle, mut probed, mut dials) = pushed();
    handle.insert(endpoint(1));
    set(&mut probed).await;
    let mut peer = dials.recv().await.expect("a dial").accept();
    peer.call().await.say(Serving);
    drop(probed);
    assert!(peer.calls.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn verdicts_go_on_when_the_resolver_has_ended() {
    let (mut probed, mut dials) = over(Fixed::new([endpoint(1)]));
    assert_eq!(set(&mut probed).await, "1 ?");
    dials.recv().await.expect("a dial").accept().always(|| answer(Serving));
    assert_eq!(set(&mut probed).await, "1 passing");

    let (mut empty, _) = over(Fixed::new(Vec::<Endpoint>::new()));
    assert_eq!(set(&mut empty).await, "");
    assert!(next(&mut empty).await.is_none(), "nothing can change any more");
}

/// A resolver that fails, and remembers what it was told.
struct Failing(Arc<Mutex<Vec<Feedback>>>);

impl Resolve for Failing {
    fn poll_resolve(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Arc<EndpointSet>, Error>>> {
        Poll::Ready(Some(Err(error("no such host"))))
    }

    fn feedback(self: Pin<&mut Self>, feedback: Feedback) {
        self.0.lock().expect("no panic").push(feedback);
    }
}

#[tokio::test(start_paused = true)]
async fn errors_and_feedback_pass_through() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let (mut probed, _) = over(Failing(told.clone()));
    assert!(next(&mut probed).await.is_some_and(|result| result.is_err()));
    probed.as_mut().feedback(Feedback::Failed(endpoint(1).key().clone()));
    assert_eq!(told.lock().expect("no panic").len(), 1);
}
