use std::{sync::Arc, thread, time::Duration};

use tokio::time::{Instant, advance};

use super::{Calls, InFlight, Load, SetLoad};
use crate::{grpc::Outcome, random::Random};

const MS: Duration = Duration::from_millis(1);

fn load() -> Arc<Load> {
    Arc::new(Load::new(Arc::new(SetLoad::new())))
}

/// Lets a call succeed after `took`, and returns when it did.
fn succeed(load: &Arc<Load>, picked_at: Instant, took: Duration) -> Instant {
    let mut call = InFlight::start(load.clone(), picked_at);
    call.headers_arrived(picked_at + took);
    call.finish(Outcome::Success, picked_at + took);
    picked_at + took
}

#[test]
fn counts_from_the_pick_to_the_end_whatever_the_outcome() {
    for outcome in [Outcome::Success, Outcome::Failure, Outcome::Cancelled] {
        let (load, now) = (load(), Instant::now());
        let mut call = InFlight::start(load.clone(), now);
        assert_eq!((load.in_flight(), load.pending(now)), (1, 1));
        call.headers_arrived(now + MS);
        assert_eq!(load.in_flight(), 1, "headers are not the end");
        call.finish(outcome, now + MS);
        assert_eq!(load.in_flight(), 0);
    }
}

#[test]
fn tells_the_outcomes_apart() {
    let (load, now) = (load(), Instant::now());
    let start = || InFlight::start(load.clone(), now);
    start().finish(Outcome::Success, now);
    start().finish(Outcome::Failure, now);
    start().finish(Outcome::Cancelled, now);
    drop(start());
    let open = start();
    assert_eq!(load.calls(), Calls { started: 5, succeeded: 1, failed: 1, cancelled: 2, refused: 0 });
    assert_eq!(load.calls().in_flight(), 1);
    drop(open);
}

#[test]
fn a_failure_is_held_for_twice_the_mean_success_time_after_its_pick() {
    let (load, start) = (load(), Instant::now());
    let now = succeed(&load, start, 10 * MS);
    InFlight::start(load.clone(), now).finish(Outcome::Failure, now + MS / 10);
    assert_eq!((load.in_flight(), load.pending(now + MS / 10)), (0, 1));
    assert_eq!(load.pending(now + 20 * MS), 1);
    assert_eq!(load.pending(now + 23 * MS), 0, "an eighth later at most");
}

#[test]
fn a_failure_that_took_longer_than_its_hold_is_over_when_it_ends() {
    let (load, start) = (load(), Instant::now());
    let now = succeed(&load, start, 10 * MS);
    InFlight::start(load.clone(), now).finish(Outcome::Failure, now + 40 * MS);
    assert_eq!(load.pending(now + 40 * MS), 0);
}

#[test]
fn a_hold_is_at_least_a_millisecond_and_at_most_a_second() {
    let set = SetLoad::new();
    assert_eq!(set.hold(), Duration::from_secs(1), "until something has succeeded");
    for (took, hold) in
        [(MS / 100, MS), (10 * MS, 20 * MS), (3_600_000 * MS, 1_000 * MS), (Duration::MAX, 1_000 * MS)]
    {
        let set = SetLoad::new();
        set.observe(took);
        assert_eq!(set.hold(), hold);
    }
}

#[test]
fn the_set_s_mean_follows_its_endpoints() {
    let set = Arc::new(SetLoad::new());
    let (a, b) = (Arc::new(Load::new(set.clone())), Arc::new(Load::new(set.clone())));
    let start = Instant::now();
    for _ in 0..800 {
        succeed(&a, start, 10 * MS);
    }
    assert_eq!(set.mean_success_time(), Some(10 * MS));
    for _ in 0..800 {
        succeed(&b, start, 50 * MS);
    }
    let mean = set.mean_success_time().unwrap();
    assert!(mean > 49 * MS && mean <= 50 * MS, "{mean:?}");
}

#[test]
fn application_errors_are_work_done_but_failing_fast_never_looks_fast() {
    let (load, start) = (load(), Instant::now());
    let now = succeed(&load, start, 10 * MS);
    for failure in 0..1_000 {
        let at = now + failure * MS;
        InFlight::start(load.clone(), at).finish(Outcome::Failure, at + MS / 10);
        assert!(load.latency(at + MS / 10).unwrap() >= 10 * MS);
    }
    let now = now + 1_000 * MS;
    assert!(load.latency(now).unwrap() > 19 * MS, "a failure counts as long as it is held");
}

#[test]
fn failing_fast_after_headers_does_not_look_fast_either() {
    let (load, start) = (load(), Instant::now());
    let now = succeed(&load, start, 10 * MS);
    for failure in 0..1_000 {
        let at = now + failure * MS;
        let mut call = InFlight::start(load.clone(), at);
        call.headers_arrived(at + MS / 10);
        call.finish(Outcome::Failure, at + MS / 10);
        assert!(load.latency(at + MS / 10).unwrap() >= 10 * MS);
    }
}

#[test]
fn an_early_end_is_never_the_first_that_is_known_of_an_endpoint_s_speed() {
    let (slow, now) = (load(), Instant::now());
    let other = Arc::new(Load::new(slow.set().clone()));
    for outcome in [Outcome::Failure, Outcome::Cancelled] {
        InFlight::start(other.clone(), now).finish(outcome, now + MS / 10);
        assert_eq!(other.latency(now), None, "nothing has succeeded yet");
    }
    let now = succeed(&slow, now, 10 * MS);
    InFlight::start(other.clone(), now).finish(Outcome::Cancelled, now + MS / 10);
    assert_eq!(other.latency(now), None);
    InFlight::start(other.clone(), now).finish(Outcome::Failure, now + MS / 10);
    assert!(other.latency(now).unwrap() > 19 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_given_up_without_an_answer_counts_as_slow_as_it_was() {
    let load = load();
    let now = succeed(&load, Instant::now(), 10 * MS);
    let call = InFlight::start(load.clone(), now);
    advance(500 * MS + 10 * MS).await;
    drop(call);
    let slow = load.latency(Instant::now()).unwrap();
    assert!(slow > 499 * MS, "{slow:?}");
    drop(InFlight::start(load.clone(), Instant::now()));
    assert!(load.latency(Instant::now()).unwrap() > 499 * MS, "giving up early does not make it fast");
}

#[test]
fn an_instant_before_the_load_began_does_no_harm() {
    let before = Instant::now() - MS;
    let load = load();
    let mut call = InFlight::start(load.clone(), before);
    call.headers_arrived(before - MS);
    call.finish(Outcome::Failure, before - MS);
    assert_eq!(load.pending(before), 1);
}

#[test]
fn sums_are_zero_after_thousands_of_ends_on_many_threads() {
    let load = load();
    let start = succeed(&load, Instant::now(), MS);
    let threads: Vec<_> = (0..4)
        .map(|seed| {
            let (load, random) = (load.clone(), Random::seeded(seed));
            thread::spawn(move || {
                for step in 0..10_000 {
                    let picked = start + step * MS / 100;
                    let mut call = InFlight::start(load.clone(), picked);
                    if random.below(2) == 0 {
                        call.headers_arrived(picked + MS);
                    }
                    assert!(load.pending(picked) >= 1, "one's own call is always seen");
                    match random.below(4) {
                        0 => call.finish(Outcome::Success, picked + MS),
                        1 => call.finish(Outcome::Failure, picked + MS / 10),
                        2 => call.finish(Outcome::Cancelled, picked + MS),
                        _ => drop(call),
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let calls = load.calls();
    assert_eq!((calls.started, calls.in_flight()), (40_001, 0));
    assert_eq!(load.pending(start + 100 * MS + 2_000 * MS), 0);
}
