//! Against a model that keeps the whole history and no state.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::{SECOND, Set};
use crate::{
    eject::{Change, Counts, Eject, FailurePercentage, Kind, SuccessRate},
    grpc::Outcome,
};

#[derive(Clone, Debug)]
enum Op {
    /// A sweep this many seconds after the last step, with these endpoints failing all their calls.
    Sweep(u64, Vec<usize>),
    Streak(u64, usize),
    Tried(usize, Outcome),
    Remove(usize),
    Insert(usize),
}

/// What happened to one endpoint since it joined, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    SweptInService,
    Ejected(u64),
    /// Its time was over.
    Released,
    /// Its trial was.
    Tried,
}

type Histories = BTreeMap<usize, Vec<Event>>;

/// Ejections less sweeps in service, and never below zero.
fn multiplier(history: &[Event]) -> u64 {
    history.iter().fold(0u64, |multiplier, event| match event {
        Event::Ejected(_) => multiplier + 1,
        Event::SweptInService => multiplier.saturating_sub(1),
        Event::Released | Event::Tried => multiplier,
    })
}

fn last(history: &[Event]) -> Option<Event> {
    history.iter().rev().find(|event| **event != Event::SweptInService).copied()
}

fn serves(history: &[Event], trial: bool) -> bool {
    match last(history) {
        None | Some(Event::Tried) => true,
        Some(Event::Released) => !trial,
        Some(_) => false,
    }
}

fn has_room(histories: &Histories, max_percent: u32, trial: bool) -> bool {
    let held = histories.values().filter(|history| !serves(history, trial)).count();
    // "ejected / total * 100 >= max": no more.
    held as f64 / (histories.len() as f64) * 100.0 < f64::from(max_percent)
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let failing = prop::collection::vec(0usize..8, 0..4);
    let outcome = prop_oneof![Just(Outcome::Success), Just(Outcome::Failure), Just(Outcome::Cancelled)];
    let op = prop_oneof![
        4 => (0u64..60, failing).prop_map(|(after, failing)| Op::Sweep(after, failing)),
        2 => (0u64..20, 0usize..8).prop_map(|(after, key)| Op::Streak(after, key)),
        2 => (0usize..8, outcome).prop_map(|(key, outcome)| Op::Tried(key, outcome)),
        1 => (0usize..8).prop_map(Op::Remove),
        1 => (0usize..8).prop_map(Op::Insert),
    ];
    prop::collection::vec(op, 1..80)
}

proptest! {
    #[test]
    fn ejections_and_returns_are_those_of_the_model(
        base in 0u64..60, max in 0u64..200, max_percent in 0u32..=100, trial: bool, ops in ops(),
    ) {
        let lasts = |multiplier: u64| (base * multiplier).min(base.max(max));
        let settings = Eject::a50()
            .success_rate(None)
            .failure_percentage(FailurePercentage::new().min_hosts(1))
            .consecutive_gateway_errors(5)
            .base_time(SECOND * base as u32)
            .max_time(SECOND * max as u32)
            .max_percent(max_percent)
            .trial(trial);
        let mut set = Set::new(settings, 8);
        let start = set.now;
        let mut histories: Histories = (0..8).map(|key| (key, Vec::new())).collect();
        for op in ops {
            let held_before = histories.values().filter(|history| !serves(history, trial)).count();
            let mut ejected: Vec<(usize, u64)> = Vec::new();
            let mut note = |change: Change<usize>| match change {
                Change::Ejected { key, until, .. } => ejected.push((key, (until - start).as_secs())),
                Change::OnTrial { .. } | Change::Returned { .. } => {}
            };
            let seconds;
            match op {
                Op::Insert(key) => {
                    if !histories.contains_key(&key) {
                        set.totals[key] = Counts::default();
                    }
                    set.outliers.insert(key);
                    histories.entry(key).or_default();
                    continue;
                }
                Op::Remove(key) => {
                    set.outliers.remove(&key);
                    histories.remove(&key);
                    continue;
                }
                Op::Tried(key, outcome) => {
                    seconds = (set.now - start).as_secs();
                    let change = set.outliers.tried(&key, outcome, set.now);
                    let on_trial = trial
                        && histories.get(&key).is_some_and(|history| last(history) == Some(Event::Released));
                    let Some(change) = change else {
                        prop_assert!(!on_trial || outcome == Outcome::Cancelled);
                        continue;
                    };
                    prop_assert!(on_trial);
                    prop_assert_eq!(outcome == Outcome::Success, change == Change::Returned { key });
                    let history = histories.get_mut(&key).expect("on trial");
                    history.push(Event::Tried);
                    if outcome == Outcome::Failure {
                        note(change);
                        history.push(Event::Ejected(seconds));
                        prop_assert_eq!(&ejected, &[(key, seconds + lasts(multiplier(history)))]);
                    }
                    continue;
                }
                Op::Streak(after, key) => {
                    set.now += SECOND * after as u32;
                    seconds = (set.now - start).as_secs();
                    let change = set.outliers.consecutive(&key, Kind::GatewayError, set.now);
                    let may = histories.get(&key).is_some_and(|history| serves(history, trial))
                        && has_room(&histories, max_percent, trial);
                    prop_assert_eq!(change.is_some(), may);
                    change.into_iter().for_each(&mut note);
                }
                Op::Sweep(after, failing) => {
                    set.now += SECOND * after as u32;
                    seconds = (set.now - start).as_secs();
                    for key in 0..8 {
                        set.totals[key].add(if failing.contains(&key) { Counts::new(0, 50) } else { Counts::new(50, 0) });
                    }
                    let totals: Vec<_> = set.totals.iter().copied().enumerate().collect();
                    let changes = set.outliers.sweep(set.now, totals, &set.random);
                    let mut released: Vec<usize> = changes.iter().filter_map(|change| match change {
                        Change::OnTrial { key } if trial => Some(*key),
                        Change::Returned { key } if !trial => Some(*key),
                        _ => None,
                    }).collect();
                    changes.into_iter().for_each(&mut note);

                    // All that fail are equally bad: the model says how many of them, the code which.
                    let candidates: Vec<_> = histories.iter()
                        .filter(|(key, history)| failing.contains(key) && serves(history, trial))
                        .map(|(key, _)| *key)
                        .collect();
                    prop_assert!(ejected.iter().all(|(key, _)| candidates.contains(key)));
                    let mut after_them = histories.clone();
                    let mut expected = 0;
                    for key in &candidates {
                        if has_room(&after_them, max_percent, trial) {
                            after_them.entry(*key).or_default().push(Event::Ejected(seconds));
                            expected += 1;
                        }
                    }
                    prop_assert_eq!(ejected.len(), expected);

                    let mut due = Vec::new();
                    for (key, history) in &mut histories {
                        match last(history) {
                            _ if ejected.iter().any(|(ejected, _)| ejected == key) => {}
                            Some(Event::Ejected(at)) => if seconds > at + lasts(multiplier(history)) {
                                history.push(Event::Released);
                                due.push(*key);
                            },
                            _ => if serves(history, trial) {
                                history.push(Event::SweptInService);
                            },
                        }
                    }
                    released.sort_unstable();
                    prop_assert_eq!(released, due);
                }
            }
            for (key, until) in &ejected {
                let history = histories.get_mut(key).expect("it is in the set");
                history.push(Event::Ejected(seconds));
                prop_assert_eq!(*until, seconds + lasts(multiplier(history)));
            }
            // Never more than the limit rounded up, but for those that were held when others were removed.
            let held = histories.values().filter(|history| !serves(history, trial)).count();
            let allowed = (histories.len() * max_percent as usize).div_ceil(100);
            prop_assert!(held <= allowed.max(held_before), "{} of {} at {} %", held, histories.len(), max_percent);
            for (key, history) in &histories {
                let ejected = matches!(last(history), Some(Event::Ejected(_)));
                prop_assert_eq!(set.outliers.is_ejected(key), ejected);
            }
        }
    }

    /// Any counters and any valid settings: nothing overflows or divides by zero, and no more is ejected than allowed.
    #[test]
    fn no_counts_make_a_sweep_panic_or_eject_too_many(
        intervals in prop::collection::vec(prop::collection::vec((any::<u64>(), any::<u64>()), 1..12), 1..6),
        max_percent in 0u32..=100, stdev_factor: u32, margin in 0u32..=100, enforcement in 0u32..=100,
        threshold in 0u32..=100, volume in 1u64.., min_hosts in 0u32..6, millis in 1u64..86_400_000,
    ) {
        let rate = SuccessRate::a50().stdev_factor(stdev_factor).margin(margin).enforcement(enforcement);
        let percentage = FailurePercentage::new().threshold(threshold).volume(volume).min_hosts(min_hosts);
        let settings = Eject::new()
            .interval(Duration::from_millis(millis))
            .max_percent(max_percent)
            .success_rate(rate.volume(volume).min_hosts(min_hosts))
            .failure_percentage(percentage);
        let mut set = Set::new(settings, 10);
        for totals in intervals {
            set.now += Duration::from_millis(millis);
            // Keys 10 and 11 are not in the set.
            let totals = totals.into_iter().map(|(succeeded, failed)| Counts::new(succeeded, failed)).enumerate();
            for change in set.outliers.sweep(set.now, totals, &set.random) {
                // Causes are printed whatever the numbers.
                let _ = format!("{change:?}");
            }
            let ejected = (0..12).filter(|key| set.outliers.is_ejected(key)).count();
            prop_assert!(ejected <= (10 * max_percent as usize).div_ceil(100));
        }
    }
}
