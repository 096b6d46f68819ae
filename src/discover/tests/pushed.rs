//! What the program tells of.

use std::sync::Arc;

use tokio_test::{assert_pending, assert_ready, task};

use super::{endpoint, poll, ports, set};
use crate::{discover::Pushed, endpoint::Endpoint};

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
