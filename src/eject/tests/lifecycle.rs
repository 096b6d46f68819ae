//! How long ejections last, and what ends them.

use super::{SECOND, Set, ejected, of_a_hundred};
use crate::{
    eject::{Cause, Change, Counts, Eject, Kind, Outliers, SuccessRate},
    grpc::Outcome,
};

/// Consecutive gateway errors alone, so that a test says who is ejected, and when.
fn by_streak() -> Eject {
    Eject::a50().success_rate(None).failure_percentage(None).consecutive_gateway_errors(5).max_percent(100)
}

impl Set {
    fn eject(&mut self, key: usize) -> Option<Change<usize>> {
        self.outliers.consecutive(&key, Kind::GatewayError, self.now)
    }

    /// Sweeps until something changes; how many seconds that took, and what changed.
    fn sweep_until_change(&mut self) -> (u64, Vec<Change<usize>>) {
        let start = self.now;
        for _ in 0..1_000 {
            let changes = self.sweep(&[]);
            if !changes.is_empty() {
                return ((self.now - start).as_secs(), changes);
            }
        }
        panic!("nothing changes");
    }
}

fn until(change: Option<Change<usize>>, set: &Set) -> u64 {
    match change {
        Some(Change::Ejected { until, .. }) => (until - set.now).as_secs(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_endpoint_returns_at_the_first_sweep_after_its_time() {
    let mut set = Set::new(by_streak(), 3);
    set.now += SECOND * 3;
    assert!(set.eject(1).is_some());
    assert!(set.outliers.is_ejected(&1));
    // Until second 33: the sweep at 40 is the first after it.
    assert_eq!(set.sweep_until_change(), (37, vec![Change::Returned { key: 1 }]));
    assert!(!set.outliers.is_ejected(&1));

    let mut set = Set::new(by_streak(), 3);
    assert_eq!(set.sweep(&[]), []);
    assert!(set.eject(1).is_some());
    // At second 10, until second 40. "After the ejection time": the sweep at 40 is not after it.
    assert_eq!(set.sweep_until_change(), (40, vec![Change::Returned { key: 1 }]));
}

#[test]
fn relapses_last_longer_up_to_the_maximum() {
    let mut set = Set::new(by_streak(), 3);
    for expected in [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300] {
        let change = set.eject(1);
        assert_eq!(until(change, &set), expected);
        // It fails again before the next sweep, and so nothing is forgiven.
        set.sweep_until_change();
    }
}

#[test]
fn each_sweep_in_service_forgives_one_ejection() {
    let mut set = Set::new(by_streak(), 3);
    for _ in 0..3 {
        assert!(set.eject(1).is_some());
        set.sweep_until_change();
    }
    // Three ejections, less two sweeps: this one counts as the second.
    set.sweep(&[]);
    set.sweep(&[]);
    let change = set.eject(1);
    assert_eq!(until(change, &set), 60);
    // The sweep that ends an ejection forgives nothing.
    set.sweep_until_change();
    let change = set.eject(1);
    assert_eq!(until(change, &set), 90);
    // And none is forgiven that was not counted.
    set.sweep_until_change();
    (0..10).for_each(|_| assert_eq!(set.sweep(&[]), []));
    let change = set.eject(1);
    assert_eq!(until(change, &set), 30);
}

#[test]
fn streaks_eject_at_once_within_the_same_limit() {
    let mut set = Set::new(by_streak().max_percent(10), 20);
    let changes = [4, 5, 6].map(|key| set.eject(key));
    assert_eq!(changes.each_ref().map(|change| change.as_ref().and_then(ejected)), [Some(4), Some(5), None]);
    let Some(Change::Ejected { cause, .. }) = &changes[0] else { panic!("{changes:?}") };
    assert_eq!(cause.to_string(), "5 gateway errors in a row");
    assert_eq!(set.eject(4), None, "it is ejected already");
    assert_eq!(set.eject(99), None, "nobody knows it");
    assert_eq!(set.outliers.consecutive(&7, Kind::LocalOrigin, set.now), None, "this kind is off");
}

#[test]
fn a_streak_trips_at_its_threshold_and_at_its_multiples() {
    let settings = Eject::new().consecutive_gateway_errors(3).consecutive_local_origin_failures(None);
    let trips: Vec<_> = (0..10).filter(|&count| settings.trips(Kind::GatewayError, count)).collect();
    assert_eq!(trips, [3, 6, 9]);
    assert!((0..10).all(|count| !settings.trips(Kind::LocalOrigin, count)));
}

#[test]
fn an_ejection_while_the_sweep_still_sees_the_bad_calls_is_no_relapse() {
    let mut set = Set::new(Eject::new().max_percent(100), 5);
    set.now += SECOND;
    let change = set.eject(4);
    assert_eq!(until(change, &set), 30);
    assert_eq!(set.ejects(&of_a_hundred(&[0, 0, 0, 0, 100])), Vec::<usize>::new());
    assert_eq!(set.sweep_until_change().0, 30, "from second 10 to second 40");
}

#[test]
fn a_return_is_tried_by_calls_until_one_tells() {
    let mut set = Set::new(by_streak().trial(true), 3);
    assert!(set.eject(1).is_some());
    assert_eq!(set.sweep_until_change().1, [Change::OnTrial { key: 1 }]);
    assert!(set.outliers.is_on_trial(&1) && !set.outliers.is_ejected(&1));
    assert_eq!(set.eject(1), None, "what is late says nothing");

    assert_eq!(set.outliers.tried(&1, Outcome::Cancelled, set.now), None);
    assert!(set.outliers.is_on_trial(&1));
    set.now += SECOND;
    let change = set.outliers.tried(&1, Outcome::Failure, set.now);
    assert!(matches!(change, Some(Change::Ejected { cause: Cause::Trial, .. })), "{change:?}");
    assert_eq!(until(change, &set), 60);

    assert_eq!(set.sweep_until_change().1, [Change::OnTrial { key: 1 }]);
    assert_eq!(set.sweep(&[]), [], "nothing but a call ends a trial");
    assert_eq!(set.outliers.tried(&1, Outcome::Success, set.now), Some(Change::Returned { key: 1 }));
    assert!(!set.outliers.is_on_trial(&1));
    assert_eq!(set.outliers.tried(&1, Outcome::Failure, set.now), None, "the trial is over");
}

#[test]
fn a_trial_takes_room_so_that_its_failure_can_eject() {
    let mut set = Set::new(by_streak().trial(true).max_percent(10), 10);
    assert!(set.eject(1).is_some());
    set.sweep_until_change();
    assert_eq!(set.eject(2), None);
    assert!(set.outliers.tried(&1, Outcome::Success, set.now).is_some());
    assert!(set.eject(2).is_some());
}

#[test]
fn a_removed_endpoint_is_forgotten_and_makes_room() {
    let mut set = Set::new(by_streak().max_percent(10), 10);
    assert!(set.eject(0).is_some());
    set.outliers.remove(&0);
    set.outliers.remove(&0);
    assert_eq!((set.outliers.len(), set.outliers.is_ejected(&0)), (9, false));
    assert!(set.eject(9).is_some(), "the one that took its place is found");
    set.outliers.remove(&9);

    set.outliers.insert(0);
    assert!(!set.outliers.is_ejected(&0));
    let change = set.eject(0);
    assert_eq!(until(change, &set), 30);
    set.outliers.insert(0);
    assert!(set.outliers.is_ejected(&0), "to insert it again changes nothing");
    assert_eq!(
        set.sweep_until_change().1,
        [Change::Returned { key: 0 }],
        "and the removed ones do not return"
    );
}

#[test]
fn each_interval_counts_its_own_calls() {
    let rule = SuccessRate::a50();
    let mut set = Set::new(Eject::a50().success_rate(rule).failure_percentage(None), 5);
    for _ in 0..5 {
        assert_eq!(
            set.ejects(&[(60, 0), (60, 0), (60, 0), (60, 0), (0, 60)]),
            Vec::<usize>::new(),
            "60 calls an interval are too few"
        );
    }
    assert_eq!(set.ejects(&of_a_hundred(&[0, 0, 0, 0, 100])), [4]);
}

#[test]
fn counters_that_begin_anew_are_taken_as_new() {
    let mut set = Set::new(Eject::a50().failure_percentage(None), 5);
    set.sweep(&of_a_hundred(&[30; 5]));
    set.totals[4] = Counts::default();
    // Taken as a continuation, the last would be 70 failures more: too few calls to judge by.
    assert_eq!(set.ejects(&of_a_hundred(&[0, 0, 0, 0, 100])), [4]);
}

#[test]
fn what_is_switched_off_needs_no_sweeps() {
    let now = tokio::time::Instant::now();
    let next = |settings: Eject| Outliers::<u8>::new(settings, now).expect("valid settings").next_wake();
    assert_eq!(next(Eject::a50().success_rate(None).failure_percentage(None)), None);
    assert_eq!(next(Eject::new().max_percent(0)), None);
    assert_eq!(next(Eject::new()), Some(now + SECOND * 10));
    assert!(Outliers::<u8>::new(Eject::new().max_percent(101), now).is_err());
}
