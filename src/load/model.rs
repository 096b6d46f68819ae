//! Every interleaving of two calls that end at once: `RUSTFLAGS="--cfg model" cargo test --lib load::model`.

use loom::thread;
use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Conduct, InFlight, Kind, Load, SetLoad, Streak, holds::Holds};
use crate::grpc::Outcome;

const MS: Duration = Duration::from_millis(1);

#[test]
fn no_hold_is_lost_when_two_are_added_at_once() {
    loom::model(|| {
        let holds = Arc::new(Holds::default());
        // One slot has expired, the other is live, so that the two compete for what is there.
        holds.add(0, 0, 1_000);
        holds.add(0, 0, 50_000);
        let other = holds.clone();
        let thread = thread::spawn(move || other.add(10_000, 10_000, 20_000));
        holds.add(10_000, 10_000, 40_000);
        thread.join().unwrap();
        assert_eq!(holds.count(10_000), 3);
    });
}

#[test]
fn a_failure_is_seen_in_flight_or_held_at_every_moment() {
    loom::model(|| {
        let now = Instant::now();
        let load = Arc::new(Load::new(Arc::new(SetLoad::new())));
        let call = InFlight::start(load.clone(), now);
        let thread = thread::spawn(move || call.finish(Outcome::Failure, now + MS));
        assert!(load.pending(now + MS) >= 1);
        thread.join().unwrap();
        assert_eq!((load.in_flight(), load.pending(now + MS)), (0, 1));
    });
}

#[test]
fn no_end_is_lost_when_two_calls_end_at_once() {
    loom::model(|| {
        let now = Instant::now();
        let load = Arc::new(Load::new(Arc::new(SetLoad::new())));
        let (a, b) = (InFlight::start(load.clone(), now), InFlight::start(load.clone(), now));
        let thread = thread::spawn(move || a.finish(Outcome::Failure, now + MS));
        b.finish(Outcome::Failure, now + MS);
        thread.join().unwrap();
        assert_eq!((load.in_flight(), load.pending(now + MS)), (0, 2));
    });
}

#[test]
fn two_failures_at_once_are_both_counted_and_told_apart() {
    loom::model(|| {
        let streak = Arc::new(Streak::new());
        let other = streak.clone();
        let thread = thread::spawn(move || other.hit(Kind::GatewayError));
        let here = streak.hit(Kind::GatewayError);
        let mut told = [here, thread.join().unwrap()];
        told.sort_unstable();
        assert_eq!(told, [1, 2]);
    });
}

#[test]
fn a_success_and_a_failure_at_once_come_one_after_the_other() {
    loom::model(|| {
        let streak = Arc::new(Streak::new());
        streak.hit(Kind::GatewayError);
        streak.hit(Kind::LocalOrigin);
        let other = streak.clone();
        let thread = thread::spawn(move || other.clear());
        let told = streak.hit(Kind::LocalOrigin);
        thread.join().unwrap();
        let after = (streak.hit(Kind::LocalOrigin), streak.hit(Kind::GatewayError));
        // Cleared and then failed, or failed and then cleared: never one kind cleared and the other not.
        assert!(matches!((told, after), (1, (2, 1)) | (2, (1, 1))), "{told} {after:?}");
    });
}

#[test]
fn of_two_calls_at_once_one_is_the_trial() {
    loom::model(|| {
        let conduct = Arc::new(Conduct::default());
        conduct.set_trial(true);
        let other = conduct.clone();
        let thread = thread::spawn(move || other.admit());
        let mut admissions = [conduct.admit(), thread.join().unwrap()];
        admissions.sort_unstable();
        assert_eq!(admissions, [None, Some(true)]);
    });
}

#[test]
fn a_trial_that_ends_while_another_call_asks_is_never_left_closed() {
    loom::model(|| {
        let conduct = Arc::new(Conduct::default());
        conduct.set_trial(true);
        assert_eq!(conduct.admit(), Some(true));
        let other = conduct.clone();
        let thread = thread::spawn(move || {
            if other.admit() == Some(true) {
                other.end_trial(Outcome::Cancelled);
            }
        });
        conduct.end_trial(Outcome::Cancelled);
        thread.join().unwrap();
        assert_eq!(conduct.admit(), Some(true));
    });
}
