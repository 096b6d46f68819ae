//! Every interleaving of two calls that end at once: `RUSTFLAGS="--cfg model" cargo test --lib load::model`.

use loom::thread;
use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{InFlight, Load, SetLoad, holds::Holds};
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
