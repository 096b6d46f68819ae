//! Fixed and pushed sets, and the way to and from tower's deltas.

mod deltas;
mod pushed;

use std::{net::SocketAddr, sync::Arc, task::Poll};

use tokio_test::{assert_ready, task};

use super::{Fixed, Resolve, for_target};
use crate::{
    Error,
    endpoint::{Endpoint, EndpointKey, EndpointSet},
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
