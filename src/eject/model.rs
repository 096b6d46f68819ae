//! Every interleaving of calls that end at once: `RUSTFLAGS="--cfg model" cargo test --release --lib model::`.

use std::sync::Arc;

use loom::thread;

use super::{Admission, Kind, Streak, Trial};
use crate::grpc::Outcome;

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
        let trial = Arc::new(Trial::new());
        trial.begin();
        let other = trial.clone();
        let thread = thread::spawn(move || other.admit());
        let admissions = [trial.admit(), thread.join().unwrap()];
        let count =
            |wanted: fn(&Admission) -> bool| admissions.iter().filter(|admission| wanted(admission)).count();
        assert_eq!(count(|admission| matches!(admission, Admission::Trial(_))), 1);
        assert_eq!(count(|admission| matches!(admission, Admission::Busy)), 1);
    });
}

#[test]
fn a_trial_that_ends_while_another_call_asks_is_never_left_closed() {
    loom::model(|| {
        let trial = Arc::new(Trial::new());
        trial.begin();
        let Admission::Trial(call) = trial.admit() else { panic!("the first call is the trial") };
        let other = trial.clone();
        // The other is turned away, or is the next trial, or finds the door open; it says nothing.
        let thread = thread::spawn(move || drop(other.admit()));
        call.ended(Outcome::Cancelled);
        thread.join().unwrap();
        assert!(matches!(trial.admit(), Admission::Trial(_)));
    });
}
