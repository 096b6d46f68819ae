use super::{chi_square::assert_distributed, *};
use crate::{endpoint::EndpointSet, policy::Wants};

fn set(endpoints: &[(&str, u32)]) -> EndpointSet {
    let parse = |&(address, weight): &(&str, u32)| {
        let endpoint: Endpoint = address.parse().expect("a test's address");
        endpoint.with_weight(weight)
    };
    EndpointSet::new(endpoints.iter().map(parse), 1)
}

fn order(policy: &PickFirst, set: &EndpointSet) -> Vec<usize> {
    match policy.wants(set) {
        Wants::First(order) => order,
        other => panic!("pick_first wants one: {other:?}"),
    }
}

#[test]
fn keeps_the_order_of_the_set_and_interleaves_families() {
    let set = set(&[
        ("[::1]:1", 1),
        ("[::1]:2", 1),
        ("[::1]:3", 1),
        ("10.0.0.1:1", 1),
        ("10.0.0.2:1", 1),
        ("unix:/run/x", 1),
    ]);
    assert_eq!(order(&PickFirst::new(), &set), [0, 3, 5, 1, 4, 2]);
}

#[test]
fn endpoints_of_weight_zero_come_last() {
    let set = set(&[("10.0.0.1:1", 0), ("10.0.0.2:1", 1), ("[::1]:1", 0), ("[::1]:2", 2)]);
    assert_eq!(order(&PickFirst::new(), &set), [1, 3, 0, 2]);
    for seed in 0..50 {
        let order = order(&PickFirst::new().shuffle_seeded(seed), &set);
        assert!(order[2] % 2 == 0 && order[3] % 2 == 0, "{order:?}");
    }
}

#[test]
fn a_shuffle_puts_endpoints_first_by_weight() {
    let weights = [1, 2, 3, 4, 0];
    let addresses: Vec<String> = (1..=5).map(|n| format!("10.0.0.{n}:1")).collect();
    let endpoints: Vec<_> = addresses.iter().map(String::as_str).zip(weights).collect();
    let (set, mut counts) = (set(&endpoints), [0; 5]);
    for seed in 0..20_000 {
        let order = order(&PickFirst::new().shuffle_seeded(seed), &set);
        counts[order[0]] += 1;
        let mut sorted = order.clone();
        sorted.sort();
        assert_eq!(sorted, [0, 1, 2, 3, 4], "everyone is in the list once");
    }
    assert_distributed(&counts, &weights, "first in the list");
}

#[test]
fn a_shuffle_is_drawn_once_and_survives_updates() {
    let policy = PickFirst::new().shuffle();
    let many: Vec<String> = (1..=20).map(|n| format!("10.0.0.{n}:1")).collect();
    let endpoints: Vec<_> = many.iter().map(|address| (address.as_str(), 1)).collect();
    let before = order(&policy, &set(&endpoints));
    assert_eq!(before, order(&policy, &set(&endpoints)));
    let without_the_last: Vec<_> = before.iter().copied().filter(|&index| index != 19).collect();
    assert_eq!(without_the_last, order(&policy, &set(&endpoints[..19])));
    assert_ne!(before, order(&PickFirst::new().shuffle(), &set(&endpoints)), "another client, another order");
}

#[test]
fn sends_every_call_to_the_first_that_is_ready() {
    let (caller, ready) = (Caller::new(1), ready(&[0, 3, 1]));
    let picker = PickFirst::new().build(&ready);
    assert!((0..10).all(|_| caller.pick(&*picker) == Some(1)));
    let excluded = [ready.endpoints()[1].load().id()];
    assert_eq!(caller.pick_at(&*picker, &excluded, Instant::now()), Some(2));
}
