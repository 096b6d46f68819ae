//! Fixed and pushed sets, and the way to and from tower's deltas.

use std::{
    collections::{BTreeSet, HashMap},
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use futures_util::{Stream, StreamExt, stream};
use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio_test::{assert_pending, assert_ready, task};
use tower::discover::Change;

use super::{Changes, Fixed, FromDiscover, Pushed, Resolve, for_target};
use crate::{
    Error,
    endpoint::{Endpoint, EndpointKey, EndpointSet},
    error::Phase,
    grpc::Code,
};

fn endpoint(number: u16) -> Endpoint {
    Endpoint::new(SocketAddr::from(([10, 0, 0, 1], number)))
}

fn poll<R: Resolve + Unpin>(task: &mut task::Spawn<R>) -> Poll<Option<Result<Arc<EndpointSet>, Error>>> {
    task.enter(|cx, resolver| resolver.poll_resolve(cx))
}

/// The next set, which must be there.
fn set<R: Resolve + Unpin>(task: &mut task::Spawn<R>) -> Arc<EndpointSet> {
    assert_ready!(poll(task)).expect("it has ended").expect("it has failed")
}

fn ports(set: &EndpointSet) -> Vec<u16> {
    set.endpoints().iter().map(|endpoint| port(endpoint.key())).collect()
}

fn port(key: &EndpointKey) -> u16 {
    key.to_string().rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn fixed_endpoints_are_one_set_without_repetition() {
    let mut fixed = task::spawn(Fixed::new([endpoint(2), endpoint(1), endpoint(2)]));
    assert_eq!(ports(&set(&mut fixed)), [2, 1]);
    assert!(assert_ready!(poll(&mut fixed)).is_none());
    assert!(assert_ready!(poll(&mut fixed)).is_none(), "it may be polled after its end");
}

#[test]
fn ten_thousand_insertions_between_two_polls_are_one_set() {
    let (handle, resolver) = Pushed::new();
    let mut resolver = task::spawn(resolver);
    assert_pending!(poll(&mut resolver));
    for number in 0..10_000 {
        assert!(handle.insert(endpoint(number)));
    }
    assert!(resolver.is_woken());
    assert_eq!(set(&mut resolver).len(), 10_000);
    assert_pending!(poll(&mut resolver));
}

#[test]
fn a_pushed_change_keeps_order_and_pointers_of_the_others() {
    let (handle, resolver) = Pushed::new();
    let mut resolver = task::spawn(resolver);
    handle.replace([endpoint(1), endpoint(2), endpoint(3)]);
    let first = set(&mut resolver);
    handle.insert(endpoint(2).with_weight(7));
    handle.insert(endpoint(4));
    assert!(handle.remove(endpoint(1).key()));
    let second = set(&mut resolver);
    assert_eq!(ports(&second), [2, 3, 4]);
    assert_eq!(second.endpoints()[0].weight(), 7);
    assert!(Arc::ptr_eq(&second.endpoints()[1], &first.endpoints()[2]));
    assert!(second.generation() > first.generation());
}

#[test]
fn what_changes_nothing_is_not_published() {
    let (handle, resolver) = Pushed::new();
    let mut resolver = task::spawn(resolver);
    handle.replace([endpoint(1), endpoint(2)]);
    set(&mut resolver);
    assert_pending!(poll(&mut resolver));
    assert!(!handle.insert(endpoint(2)));
    assert!(!handle.remove(endpoint(3).key()));
    handle.replace([endpoint(1), endpoint(2), endpoint(1)]);
    assert!(!resolver.is_woken());
    assert_pending!(poll(&mut resolver));
    handle.replace([endpoint(2), endpoint(1)]);
    assert_eq!(ports(&set(&mut resolver)), [2, 1], "the order of preference is a difference");
}

#[test]
fn replacing_with_nothing_resolves_to_nothing() {
    let (handle, resolver) = Pushed::new();
    let mut resolver = task::spawn(resolver);
    handle.replace::<Endpoint>([]);
    assert!(set(&mut resolver).is_empty());
}

#[test]
fn the_last_handle_leaves_its_set_behind() {
    let (handle, resolver) = Pushed::new();
    let mut resolver = task::spawn(resolver);
    let other = handle.clone();
    assert_pending!(poll(&mut resolver));
    drop(handle);
    assert_pending!(poll(&mut resolver));
    other.insert(endpoint(1));
    drop(other);
    assert_eq!(ports(&set(&mut resolver)), [1]);
    assert!(assert_ready!(poll(&mut resolver)).is_none());
}

#[test]
fn dropping_the_handle_wakes_and_an_unfed_resolver_resolves_to_nothing() {
    let (handle, resolver) = Pushed::new();
    let mut resolver = task::spawn(resolver);
    assert_pending!(poll(&mut resolver));
    drop(handle);
    assert!(resolver.is_woken());
    assert!(set(&mut resolver).is_empty());
    assert!(assert_ready!(poll(&mut resolver)).is_none());
}

#[test]
fn deltas_say_what_came_what_went_and_what_changed() {
    let (handle, resolver) = Pushed::new();
    let mut changes = task::spawn(resolver.into_discover());
    handle.replace([endpoint(1), endpoint(2), endpoint(3)]);
    assert_eq!(drain(&mut changes), ["+1", "+2", "+3"]);
    handle.replace([endpoint(2), endpoint(3).with_weight(9), endpoint(4)]);
    assert_eq!(drain(&mut changes), ["+3", "+4", "-1"]);
    drop(handle);
    assert!(matches!(changes.poll_next(), Poll::Ready(None)));
    assert!(matches!(changes.poll_next(), Poll::Ready(None)), "it may be polled after its end");
}

fn drain<R: Resolve + Unpin>(changes: &mut task::Spawn<Changes<R>>) -> Vec<String> {
    let mut all = Vec::new();
    while let Poll::Ready(Some(Ok(change))) = changes.poll_next() {
        all.push(match change {
            Change::Insert(key, endpoint) => {
                assert_eq!(&key, endpoint.key());
                format!("+{}", port(&key))
            }
            Change::Remove(key) => format!("-{}", port(&key)),
        });
    }
    all
}

/// A resolver that says what it is told, failures included.
struct Script(mpsc::UnboundedReceiver<Result<Arc<EndpointSet>, Error>>);

impl Resolve for Script {
    fn poll_resolve(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Arc<EndpointSet>, Error>>> {
        self.0.poll_recv(cx)
    }
}

#[test]
fn a_failed_resolution_is_no_end_of_the_deltas() {
    let (say, script) = mpsc::unbounded_channel();
    let mut changes = task::spawn(Script(script).into_discover());
    say.send(Ok(Arc::new(EndpointSet::new([endpoint(1)], 1)))).unwrap();
    say.send(Err(Error::new(Code::Unavailable, Phase::Resolve, "SERVFAIL"))).unwrap();
    say.send(Ok(Arc::new(EndpointSet::new([endpoint(2)], 2)))).unwrap();
    assert_eq!(drain(&mut changes), ["+1", "+2", "-1"]);
}

#[test]
fn somebody_elses_deltas_are_drained_before_each_set() {
    let (say, changes) = mpsc::unbounded_channel();
    let changes = stream::unfold(changes, |mut changes| async { Some((changes.recv().await?, changes)) });
    let mut resolver = task::spawn(FromDiscover::new(Box::pin(changes)));
    assert_pending!(poll(&mut resolver));
    for number in 0..1000 {
        say.send(Ok(Change::Insert(number, endpoint(number)))).unwrap();
    }
    assert!(resolver.is_woken());
    assert_eq!(set(&mut resolver).len(), 1000);
    assert_pending!(poll(&mut resolver));

    // Keys are theirs, identities are ours: 7 is there twice.
    say.send(Ok(Change::Insert(2000, endpoint(7)))).unwrap();
    say.send(Ok(Change::Remove(7))).unwrap();
    say.send(Ok(Change::Remove(3000))).unwrap();
    say.send(Err("the registry is away")).unwrap();
    say.send(Ok(Change::Remove(8))).unwrap();
    let second = set(&mut resolver);
    assert_eq!(second.len(), 1000);
    assert_eq!(ports(&second).last(), Some(&7));
    let error = assert_ready!(poll(&mut resolver)).unwrap().unwrap_err();
    assert_eq!(error.phase(), Phase::Resolve);
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the registry is away");
    assert_eq!(set(&mut resolver).len(), 999, "an error is no end");
    drop(say);
    assert!(assert_ready!(poll(&mut resolver)).is_none());
    assert!(assert_ready!(poll(&mut resolver)).is_none(), "it may be polled after its end");
}

#[test]
fn a_discovery_that_ends_without_a_word_has_nothing() {
    let changes = stream::empty::<Result<Change<u8, Endpoint>, std::convert::Infallible>>();
    assert!(set(&mut task::spawn(FromDiscover::new(changes))).is_empty());
}

#[test]
fn targets_of_addresses_are_fixed() {
    for (target, expected) in [
        ("ipv4:1.2.3.4:5,1.2.3.4:6", vec!["1.2.3.4:5", "1.2.3.4:6"]),
        ("ipv6:[::1]:5", vec!["[::1]:5"]),
        ("unix:/run/greeter.sock", vec!["unix:/run/greeter.sock"]),
        ("unix-abstract:greeter", vec!["unix-abstract:greeter"]),
        ("localhost:80", vec!["127.0.0.1:80,[::1]:80"]),
        ("10.0.0.1:80", vec!["10.0.0.1:80"]),
    ] {
        let mut resolver = task::spawn(for_target(&target.parse().unwrap()).unwrap());
        let set = set(&mut resolver);
        assert_eq!(set.endpoints().iter().map(|e| e.to_string()).collect::<Vec<_>>(), expected);
        assert!(assert_ready!(poll(&mut resolver)).is_none());
    }
}

#[cfg(not(feature = "dns"))]
#[test]
fn without_dns_a_name_is_refused_with_the_features_name() {
    let error = for_target(&"greeter:80".parse().unwrap()).err().unwrap();
    assert!(error.message().contains("feature `dns`") && error.message().contains("`greeter`"), "{error}");
}

proptest! {
    /// Applied to an empty collection, the deltas give the latest set, whatever happened in between.
    #[test]
    fn deltas_and_snapshots_say_the_same(
        steps in prop::collection::vec((0u16..12, 0u32..4, any::<bool>()), 1..60),
    ) {
        let (handle, resolver) = Pushed::new();
        let mut changes = resolver.into_discover();
        let mut there: HashMap<EndpointKey, Arc<Endpoint>> = HashMap::new();
        let mut expected: HashMap<u16, u32> = HashMap::new();
        for (number, weight, look) in steps {
            // Weight 0 stands for a removal.
            if weight == 0 {
                handle.remove(endpoint(number).key());
                expected.remove(&number);
            } else {
                handle.insert(endpoint(number).with_weight(weight));
                expected.insert(number, weight);
            }
            if !look {
                continue;
            }
            let mut task = task::spawn(poll_fn(|cx| {
                while let Poll::Ready(Some(Ok(change))) = Pin::new(&mut changes).poll_next(cx) {
                    match change {
                        Change::Insert(key, endpoint) => {
                            let old = there.insert(key, endpoint.clone());
                            assert_ne!(old, Some(endpoint), "an insertion that changes nothing");
                        }
                        Change::Remove(key) => assert!(there.remove(&key).is_some()),
                    }
                }
                Poll::Ready(())
            }));
            assert_ready!(task.poll());
            drop(task);
            let seen: BTreeSet<_> = there.iter().map(|(key, e)| (port(key), e.weight())).collect();
            prop_assert_eq!(seen, expected.iter().map(|(n, w)| (*n, *w)).collect::<BTreeSet<_>>());
        }
    }
}

#[tokio::test]
async fn towers_balancer_takes_the_deltas() {
    let fixed = Fixed::new([endpoint(1), endpoint(2)]);
    let services = fixed.into_discover().map(|change| {
        change.map(|change| match change {
            Change::Insert(key, endpoint) => {
                let answer = move |(): ()| std::future::ready(Ok::<_, tower::BoxError>(port(endpoint.key())));
                Change::Insert(key, tower::load::Constant::new(tower::service_fn(answer), 1))
            }
            Change::Remove(key) => Change::Remove(key),
        })
    });
    let mut balance = tower::balance::p2c::Balance::new(services);
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        let ready = tower::ServiceExt::ready(&mut balance).await.unwrap();
        seen.insert(tower::Service::call(ready, ()).await.unwrap());
    }
    assert_eq!(seen, BTreeSet::from([1, 2]));
}
