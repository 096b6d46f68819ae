use std::collections::HashMap;

use tokio::time::Instant;

use super::{chi_square::assert_distributed, *};

/// 20 000 calls tell a share that is off by 5 % of itself among five endpoints.
const CALLS: usize = 20_000;

fn counts(policy: &dyn Policy, ready: &ReadySet, calls: usize) -> Vec<usize> {
    let (caller, picker, now) = (Caller::new(5), policy.build(ready), Instant::now());
    let mut counts = vec![0; ready.len()];
    for _ in 0..calls {
        counts[caller.pick_at(&*picker, &[], now).expect("an endpoint is ready")] += 1;
    }
    counts
}

#[test]
fn idle_endpoints_get_calls_by_weight() {
    for weights in [
        &[1, 1, 1, 1, 1][..],
        &[7, 7, 7],
        &[0, 0, 0],
        &[1, 2, 3],
        &[1, 10],
        &[0, 1, 4, 0],
        &[100, 101, 99, 0, 3_000, 250],
        &[u32::MAX, u32::MAX, 2_000_000_000],
    ] {
        for policy in spreading_policies() {
            let counts = counts(&*policy, &ready(weights), CALLS);
            // Weights that are 0 throughout are equal weights.
            let expected = if weights.iter().all(|&w| w == 0) { &vec![1; weights.len()] } else { weights };
            assert_distributed(&counts, expected, &format!("{} {weights:?}", policy.name()));
        }
    }
}

#[test]
fn ten_thousand_endpoints_get_calls_by_weight() {
    let even = vec![1; 10_000];
    let mixed: Vec<u32> = (0..10_000).map(|number| number % 3 * 2).collect();
    for weights in [even, mixed] {
        for policy in spreading_policies() {
            // Fifteen calls per endpoint and more.
            let counts = counts(&*policy, &ready(&weights), 150_000);
            assert_distributed(&counts, &weights, policy.name());
        }
    }
}

#[test]
fn a_single_endpoint_gets_every_call_and_an_empty_set_none() {
    for policy in every_policy() {
        for weight in [0, 1, 9] {
            assert_eq!(counts(&*policy, &ready(&[weight]), 10), [10], "{}", policy.name());
        }
        assert_eq!(Caller::new(1).pick(&*policy.build(&ReadySet::default())), None, "{}", policy.name());
    }
}

#[test]
fn rebuilding_between_picks_skews_nothing() {
    for policy in spreading_policies() {
        for weights in [[1, 1, 1, 1, 1], [1, 2, 3, 4, 5]] {
            let (caller, ready, now) = (Caller::new(5), ready(&weights), Instant::now());
            let mut counts = [0; 5];
            for _ in 0..CALLS {
                counts[caller.pick_at(&*policy.build(&ready), &[], now).unwrap()] += 1;
            }
            assert_distributed(&counts, &weights, policy.name());
        }
    }
}

/// Endpoints come and go between any two calls: all five are there, then one of them is missing, then the order is
/// turned round.
#[test]
fn churn_skews_nothing() {
    for policy in spreading_policies() {
        let (caller, all, now) = (Caller::new(5), ready(&[1; 5]), Instant::now());
        let numbers: HashMap<_, _> =
            all.endpoints().iter().enumerate().map(|(number, e)| (e.load().id(), number)).collect();
        let mut counts = [[0; 5]; 3];
        for call in 0..3 * CALLS {
            let mut endpoints = all.endpoints().to_vec();
            match call % 3 {
                0 => {}
                1 => drop(endpoints.pop()),
                _ => endpoints.rotate_left(call / 3 % 5),
            }
            let ready: ReadySet = endpoints.into_iter().collect();
            let index = caller.pick_at(&*policy.build(&ready), &[], now).unwrap();
            counts[call % 3][numbers[&ready.endpoints()[index].load().id()]] += 1;
        }
        for (counts, weights) in counts.iter().zip([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]) {
            assert_distributed(counts, &weights, policy.name());
        }
    }
}

#[test]
fn round_robin_is_exact_and_goes_on_where_the_last_picker_stopped() {
    let (policy, caller, ready) = (RoundRobin::seeded(3), Caller::new(1), ready(&[1; 7]));
    let mut counts = [0; 7];
    for _ in 0..10 {
        // Two pickers at once, as two workers have them, share the cursor.
        let pickers = [policy.build(&ready), policy.build(&ready)];
        for call in 0..70 {
            counts[caller.pick(&*pickers[call % 2]).unwrap()] += 1;
        }
    }
    assert_eq!(counts, [100; 7]);
}

#[test]
fn weighted_round_robin_is_exact_and_smooth() {
    let (policy, caller, ready) = (RoundRobin::seeded(3), Caller::new(1), ready(&[1, 2, 3]));
    let picker = policy.build(&ready);
    let picks: Vec<usize> = (0..600).map(|_| caller.pick(&*picker).unwrap()).collect();
    assert_eq!([0, 1, 2].map(|endpoint| picks.iter().filter(|&&p| p == endpoint).count()), [100, 200, 300]);
    assert!(picks.windows(7).all(|turn| turn.contains(&0)), "no clumps");
}

#[test]
fn round_robin_clients_start_at_different_endpoints() {
    let (caller, ready) = (Caller::new(1), ready(&[1; 5]));
    let mut counts = [0; 5];
    for seed in 0..2_000 {
        counts[caller.pick(&*RoundRobin::seeded(seed).build(&ready)).unwrap()] += 1;
    }
    assert_distributed(&counts, &[1; 5], "first picks");
}

#[test]
fn seeded_picks_repeat() {
    for (a, b) in every_policy().into_iter().zip(every_policy()) {
        let picks = |policy: Arc<dyn Policy>| {
            let (caller, picker) = (Caller::new(9), policy.build(&ready(&[1, 2, 3, 0, 5])));
            (0..100).map(|_| caller.pick(&*picker)).collect::<Vec<_>>()
        };
        assert_eq!(picks(a), picks(b));
    }
}
