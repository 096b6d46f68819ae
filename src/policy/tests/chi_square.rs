//! Pearson's chi-square test of a distribution.

/// The quantile of the standard normal distribution at 0.9999: with fixed seeds a test that passes goes on passing,
/// and a change to the algorithm has one chance in 10 000 to fail by bad luck.
const Z: f64 = 3.719;

/// Asserts that counts are distributed as the weights say.
#[track_caller]
pub(super) fn assert_distributed(counts: &[usize], weights: &[u32], what: &str) {
    let chi_square = statistic(counts, weights);
    let critical = critical(weights.iter().filter(|&&weight| weight > 0).count() - 1);
    assert!(chi_square <= critical, "{what}: chi-square {chi_square:.1} > {critical:.1}: {counts:?}");
}

fn statistic(counts: &[usize], weights: &[u32]) -> f64 {
    assert_eq!(counts.len(), weights.len());
    let calls = counts.iter().sum::<usize>() as f64;
    let total = weights.iter().map(|&weight| f64::from(weight)).sum::<f64>();
    let terms = counts.iter().zip(weights).map(|(&count, &weight)| {
        if weight == 0 {
            return if count == 0 { 0.0 } else { f64::INFINITY };
        }
        let expected = calls * f64::from(weight) / total;
        assert!(expected >= 5.0, "the test needs five expected calls per endpoint");
        (count as f64 - expected).powi(2) / expected
    });
    terms.sum()
}

/// What the statistic exceeds with a probability of 0.0001 (Wilson and Hilferty's approximation, 1931).
fn critical(degrees: usize) -> f64 {
    if degrees == 0 {
        return f64::EPSILON;
    }
    let n = degrees as f64;
    let spread = 2.0 / (9.0 * n);
    n * (1.0 - spread + Z * spread.sqrt()).powi(3)
}

#[test]
fn the_approximation_is_near_the_tables() {
    for (degrees, table) in [(2, 18.42), (4, 23.51), (9, 33.72)] {
        assert!((critical(degrees) / table - 1.0).abs() < 0.05, "{degrees}: {} {table}", critical(degrees));
    }
}

#[test]
fn the_test_tells_a_skew_of_ten_per_cent_from_none() {
    assert!(statistic(&[4_000, 4_000, 4_000, 4_000, 4_400], &[1; 5]) > critical(4));
    assert!(statistic(&[4_000, 4_010, 3_990, 4_030, 3_970], &[1; 5]) < critical(4));
    assert_eq!(statistic(&[1, 99], &[0, 1]), f64::INFINITY, "weight 0 means never");
}
