//! Callers in a closed loop against endpoints with known behaviour, in simulated time.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use super::*;
use crate::{grpc::Outcome, load::InFlight};

const MS: Duration = Duration::from_millis(1);

/// How an endpoint answers.
#[derive(Clone, Copy)]
struct Behaviour {
    took: Duration,
    outcome: Outcome,
    /// Whether response headers come before the end, as with an error in trailers.
    headers: bool,
}

fn answers(took: Duration) -> Behaviour {
    Behaviour { took, outcome: Outcome::Success, headers: true }
}

fn fails(took: Duration, headers: bool) -> Behaviour {
    Behaviour { took, outcome: Outcome::Failure, headers }
}

fn hangs() -> Behaviour {
    answers(Duration::from_secs(3_600))
}

/// Lets callers call in a closed loop until so many calls have been started, and returns how many each endpoint got.
fn simulate(
    policy: &dyn Policy,
    weights: &[u32],
    endpoints: &[Behaviour],
    callers: usize,
    calls: usize,
) -> Vec<usize> {
    let (ready, caller) = (ready(weights), Caller::new(23));
    let picker = policy.build(&ready);
    let start = Instant::now();
    let mut counts = vec![0; endpoints.len()];
    let mut ends = BinaryHeap::new();
    let mut open: Vec<Option<(InFlight, Behaviour)>> = (0..callers).map(|_| None).collect();
    ends.extend((0..callers).map(|caller| Reverse((start, caller))));
    for _ in 0..calls {
        let Reverse((now, number)) = ends.pop().expect("every caller has a call");
        if let Some((mut call, behaviour)) = open[number].take() {
            if behaviour.headers {
                call.headers_arrived(now);
            }
            call.finish(behaviour.outcome, now);
        }
        let index = caller.pick_at(&*picker, &[], now).expect("an endpoint is ready");
        counts[index] += 1;
        let call = InFlight::start(ready.endpoints()[index].load().clone(), now);
        open[number] = Some((call, endpoints[index]));
        ends.push(Reverse((now + endpoints[index].took, number)));
    }
    counts
}

fn p2c_policies() -> [P2c; 2] {
    [P2c::least_pending(), P2c::peak_ewma()]
}

#[test]
fn an_endpoint_that_fails_at_once_gets_no_more_than_its_even_share() {
    for policy in p2c_policies() {
        for headers in [false, true] {
            let mut endpoints = [answers(10 * MS); 5];
            endpoints[2] = fails(MS / 10, headers);
            let counts = simulate(&policy, &[1; 5], &endpoints, 50, 20_000);
            // The even share is 4 000; 1.1 times that is the bound.
            assert!(counts[2] <= 4_400, "{} {counts:?}", policy.name());
        }
    }
}

#[test]
fn an_endpoint_that_recovers_is_used_again() {
    // A failure is forgotten by the time it takes, not by a success: some calls must go on reaching the endpoint.
    for policy in p2c_policies() {
        let mut endpoints = [answers(10 * MS); 5];
        endpoints[2] = fails(MS / 10, false);
        let counts = simulate(&policy, &[1; 5], &endpoints, 50, 20_000);
        assert!(counts[2] >= 200, "{} {counts:?}", policy.name());
    }
}

#[test]
fn a_fast_endpoint_gets_ten_times_the_calls_of_a_slow_one() {
    for policy in p2c_policies() {
        // Four seconds of 50 callers.
        let counts = simulate(&policy, &[1, 1], &[answers(2 * MS), answers(200 * MS)], 50, 50_000);
        assert!(counts[0] >= 10 * counts[1], "{} {counts:?}", policy.name());
    }
}

#[test]
fn a_hung_endpoint_of_two_gets_almost_nothing() {
    for policy in p2c_policies() {
        let counts = simulate(&policy, &[1, 1], &[answers(10 * MS), hangs()], 50, 20_000);
        // No more than hold the callers in balance, half of them at first.
        assert!(counts[1] <= 26, "{} {counts:?}", policy.name());
    }
}

#[test]
fn one_caller_never_picks_the_hung_endpoint_of_two_again() {
    let ready = ready(&[1, 1]);
    let (caller, picker) = (Caller::new(4), P2c::least_pending().build(&ready));
    let _hung = InFlight::start(ready.endpoints()[1].load().clone(), Instant::now());
    // Comparing an endpoint with itself would send it a quarter of these.
    assert!((0..1_000).all(|_| caller.pick(&*picker) == Some(0)));
}

#[test]
fn a_hung_endpoint_of_many_gets_almost_nothing() {
    for policy in p2c_policies() {
        let mut endpoints = [answers(10 * MS); 10];
        endpoints[7] = hangs();
        let counts = simulate(&policy, &[1; 10], &endpoints, 50, 20_000);
        assert!(counts[7] <= 12, "{} {counts:?}", policy.name());
    }
}

#[test]
fn busy_endpoints_get_calls_by_weight() {
    for policy in p2c_policies() {
        let counts = simulate(&policy, &[1, 3], &[answers(10 * MS); 2], 200, 40_000);
        let share = counts[1] as f64 / 40_000.0;
        assert!((0.72..0.78).contains(&share), "{} {counts:?}", policy.name());
    }
}

#[test]
fn an_endpoint_that_joins_is_neither_flooded_nor_starved() {
    for policy in p2c_policies() {
        let (ready, caller, start) = (ready(&[1; 5]), Caller::new(6), Instant::now());
        for known in &ready.endpoints()[..4] {
            let mut call = InFlight::start(known.load().clone(), start);
            call.headers_arrived(start + 10 * MS);
            call.finish(Outcome::Success, start + 10 * MS);
        }
        let (picker, now) = (policy.build(&ready), start + 10 * MS);
        let mut counts = [0; 5];
        let mut open = Vec::new();
        for _ in 0..500 {
            let index = caller.pick_at(&*picker, &[], now).unwrap();
            counts[index] += 1;
            open.push(InFlight::start(ready.endpoints()[index].load().clone(), now));
        }
        assert!((90..=110).contains(&counts[4]), "{} {counts:?}", policy.name());
    }
}
