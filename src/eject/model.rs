//! Every interleaving of calls that end at once: `RUSTFLAGS="--cfg model" cargo test --release --lib model::`.

use std::sync::Arc;

use loom::thread;

use super::{Kind, Streak};

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
