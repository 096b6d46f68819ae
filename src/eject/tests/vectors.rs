//! The rules of A50, one interval each.

use super::{Set, of_a_hundred};
use crate::eject::{Counts, Eject, FailurePercentage, SuccessRate, detect::success_rate_limit};

/// A50's success rate rule alone, without a limit to ejections.
fn by_success_rate(rule: SuccessRate) -> Eject {
    Eject::a50().success_rate(rule).failure_percentage(None).max_percent(100)
}

fn by_failure_percentage(rule: FailurePercentage) -> Eject {
    Eject::a50().success_rate(None).failure_percentage(rule).max_percent(100)
}

#[test]
fn the_limit_is_taken_from_the_deviation_of_the_population() {
    let limit = |rates: [f64; 5]| success_rate_limit(&SuccessRate::a50(), rates.into_iter());
    // The deviation of the population is 0.4: 0.8 - 1.9 x 0.4. That of a sample would be 0.447, and the limit -0.05,
    // below which nothing can be.
    assert!((limit([1.0, 1.0, 1.0, 1.0, 0.0]) - 0.04).abs() < 1e-12);
    assert_eq!(limit([1.0; 5]), 1.0);
}

#[test]
fn success_rates_are_compared_as_a50_says() {
    let rule = SuccessRate::a50();
    for (what, rule, failed, expected) in [
        ("one of five fails always", rule, &[0, 0, 0, 0, 100][..], &[4][..]),
        ("one of five fails once", rule, &[0, 0, 0, 0, 1], &[4]),
        ("of four endpoints none is five hosts", rule, &[0, 0, 0, 100], &[]),
        // One outlier of n is sqrt(n - 1) deviations below the mean: 1.73 of four.
        ("one of four cannot be 1.9 deviations below", rule.min_hosts(4), &[0, 0, 0, 100], &[]),
        ("but 1.7", rule.min_hosts(4).stdev_factor(1700), &[0, 0, 0, 100], &[3]),
        // The mean is 0.8 and the deviation 0.4: the limit is 0 exactly.
        ("what is at the limit is not below it", rule.stdev_factor(2000), &[0, 0, 0, 0, 100], &[]),
        ("what is below it is", rule.stdev_factor(1999), &[0, 0, 0, 0, 100], &[4]),
        ("all fail alike", rule, &[30, 30, 30, 30, 30, 30, 30], &[]),
        // The sum of ten times 0.9, divided by ten, is a bit above 0.9 in floating point, and 0.9 is no outlier.
        ("rounding makes no outlier of the mean", rule.stdev_factor(0), &[10; 10], &[]),
        ("nor of what is at the limit", rule.stdev_factor(2000), &[0, 0, 0, 0, 10], &[]),
        ("all fail always", rule, &[100; 5], &[]),
        ("two of ten", rule, &[0, 0, 0, 0, 0, 0, 0, 0, 100, 100], &[8, 9]),
        // Two equal outliers of eight are sqrt(3) = 1.73 deviations below.
        ("two of eight hide one another", rule, &[0, 0, 0, 0, 0, 0, 100, 100], &[]),
        ("the margin spares a chance failure", SuccessRate::new(), &[0, 0, 0, 0, 6], &[]),
        ("and not what is worse by more", SuccessRate::new(), &[0, 0, 0, 0, 7], &[4]),
        ("enforcement 0 ejects nothing", rule.enforcement(0), &[0, 0, 0, 0, 100], &[]),
    ] {
        let mut set = Set::new(by_success_rate(rule), failed.len());
        assert_eq!(set.ejects(&of_a_hundred(failed)), expected, "{what}");
    }
}

#[test]
fn failure_percentages_are_held_against_the_threshold_strictly() {
    let rule = FailurePercentage::new();
    for (what, rule, failed, expected) in [
        ("at the threshold", rule, &[0, 0, 0, 0, 85][..], &[][..]),
        ("above it", rule, &[0, 0, 0, 0, 86], &[4]),
        ("all above it, the worst first", rule, &[90, 91, 92, 93, 94], &[4, 3, 2, 1, 0]),
        ("too few hosts", rule, &[0, 0, 0, 100], &[]),
        ("few hosts, but enough", rule.min_hosts(1), &[100], &[0]),
        ("threshold 0 and no failure", rule.threshold(0), &[0, 0, 0, 0, 0], &[]),
        ("threshold 0 and one", rule.threshold(0), &[0, 0, 0, 0, 1], &[4]),
        ("threshold 100", rule.threshold(100), &[0, 0, 0, 0, 100], &[]),
        ("enforcement 0 ejects nothing", rule.enforcement(0), &[0, 0, 0, 0, 100], &[]),
    ] {
        let mut set = Set::new(by_failure_percentage(rule), failed.len());
        assert_eq!(set.ejects(&of_a_hundred(failed)), expected, "{what}");
    }
}

#[test]
fn only_endpoints_with_enough_calls_are_compared_or_counted_as_hosts() {
    let quiet = (0, 99);
    let busy = (100, 0);
    for (what, calls, expected) in [
        ("an outlier with 99 calls", &[busy, busy, busy, busy, busy, quiet][..], &[][..]),
        ("an outlier with 100", &[busy, busy, busy, busy, busy, (0, 100)], &[5]),
        ("four hosts, and a quiet one", &[busy, busy, busy, (0, 100), quiet], &[]),
        // Were the quiet ones counted, the mean would be so low and the deviation so large that none stood out.
        ("quiet ones do not blur the mean", &[busy, busy, busy, busy, (0, 100), quiet, quiet, quiet], &[4]),
    ] {
        let mut set = Set::new(by_success_rate(SuccessRate::a50()), calls.len());
        assert_eq!(set.ejects(calls), expected, "{what}");
    }
    let mut set = Set::new(by_failure_percentage(FailurePercentage::new()), 6);
    assert_eq!(
        set.ejects(&[(50, 0), (50, 0), (50, 0), (50, 0), (0, 50), (0, 49)]),
        [4],
        "50 calls are enough"
    );
}

#[test]
fn the_limit_is_looked_at_before_each_ejection_and_over_all_endpoints() {
    for (percent, endpoints, failing, expected) in [
        (0, 20, 4, 0),
        (1, 5, 4, 1), // One can always be ejected.
        (10, 20, 4, 2),
        (11, 20, 4, 3), // 2 of 20 are 10 %, which is below 11 %.
        (50, 5, 4, 3),
        (100, 5, 5, 5),
    ] {
        let settings = by_failure_percentage(FailurePercentage::new()).max_percent(percent);
        let mut calls = vec![(100, 0); endpoints - failing];
        calls.resize(endpoints, (0, 100));
        let mut set = Set::new(settings.consecutive_gateway_errors(5), endpoints);
        set.now += super::SECOND * 10;
        let totals: Vec<_> =
            calls.iter().map(|&(succeeded, failed)| Counts::new(succeeded, failed)).collect();
        let changes = set.outliers.sweep(set.now, totals.into_iter().enumerate(), &set.random);
        assert_eq!(changes.len(), expected, "{percent} % of {endpoints}");
    }
    // Endpoints without calls are endpoints: 2 of 20, although only 5 are hosts.
    let mut set = Set::new(by_failure_percentage(FailurePercentage::new()).max_percent(10), 20);
    assert_eq!(set.ejects(&[(0, 100), (0, 100), (0, 100), (100, 0), (100, 0)]).len(), 2);
}

#[test]
fn a_limit_to_ejections_hits_the_worst() {
    let settings = by_failure_percentage(FailurePercentage::new()).max_percent(20);
    let mut set = Set::new(settings, 10);
    assert_eq!(set.ejects(&of_a_hundred(&[90, 95, 100, 0, 0, 0, 0, 99, 0, 0])), [2, 7]);

    let settings = by_success_rate(SuccessRate::a50()).max_percent(5);
    let mut failed = [0; 20];
    (failed[3], failed[9]) = (50, 60);
    assert_eq!(Set::new(settings, 20).ejects(&of_a_hundred(&failed)), [9]);
}

#[test]
fn one_sweep_ejects_an_endpoint_once_though_both_rules_find_it() {
    let mut set = Set::new(Eject::a50().max_percent(100), 5);
    let changes = set.sweep(&of_a_hundred(&[0, 0, 0, 0, 100]));
    let [crate::eject::Change::Ejected { key: 4, until, cause, .. }] = changes.as_slice() else {
        panic!("{changes:?}")
    };
    assert_eq!(*until, set.now + super::SECOND * 30, "it is no relapse");
    assert_eq!(cause.to_string(), "success rate 0.0 % of 100 calls, below the limit of 4.0 %");
}

#[test]
fn enforcement_ejects_that_part_of_the_outliers() {
    let ejected = |percent| {
        let rule = FailurePercentage::new().enforcement(percent);
        Set::new(by_failure_percentage(rule), 10_000).ejects(&vec![(0, 100); 10_000]).len()
    };
    assert_eq!((ejected(0), ejected(100)), (0, 10_000));
    let count = ejected(30) as f64;
    // One degree of freedom; 10.8 is passed by chance once in a thousand seeds.
    let chi_square = (count - 3_000.0).powi(2) / 3_000.0 + (count - 3_000.0).powi(2) / 7_000.0;
    assert!(chi_square < 10.8, "{count} of 10 000");
}
