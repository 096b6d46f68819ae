//! Weighted turns without a queue: gRFC A58's static stride scheduler.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What the greatest weight is scaled to.
const MAX: u64 = 65_535;
/// Where an endpoint's turns are shifted to, per position, so that equal weights do not skip in step.
const SHIFT: u64 = MAX / 2;
/// The greatest weight counts as no more than this many times the mean.
const MAX_TO_MEAN: f64 = 10.0;
/// The least weight counts as no less than this share of the mean.
const MIN_TO_MEAN: f64 = 0.01;

/// Spreads turns in proportion to weights, smoothly: it goes round all positions, and each skips the rounds in which
/// it is not its turn. Its only state is a counter, which schedulers before and after it may share.
#[derive(Debug)]
pub(super) struct Stride(Box<[u16]>);

impl Stride {
    /// A schedule for these weights. A weight of 0 means that it is not known, and counts as the mean of the others.
    pub(super) fn new(weights: &[u32]) -> Self {
        let known = weights.iter().filter(|&&weight| weight > 0);
        let (count, total) = known.fold((0u64, 0f64), |(n, sum), &w| (n + 1, sum + f64::from(w)));
        let mean = if count == 0 { 1.0 } else { total / count as f64 };
        let max = weights.iter().max().map_or(1.0, |&max| f64::from(max).min(mean * MAX_TO_MEAN)).max(1.0);
        let scale = MAX as f64 / max;
        // Nobody rounds to 0: such an endpoint would never be picked, nor would a set of such endpoints.
        let floor = (mean * scale * MIN_TO_MEAN).round().max(1.0);
        let scaled = weights.iter().map(|&weight| {
            let weight = if weight == 0 { mean } else { f64::from(weight) };
            (weight.min(max) * scale).round().max(floor) as u16
        });
        Self(scaled.collect())
    }

    /// Takes turns from the counter until one is not skipped; a schedule of nothing yields 0.
    pub(super) fn next(&self, turns: &AtomicU64) -> usize {
        if self.0.is_empty() {
            return 0;
        }
        // This ends within one round unless other threads take turns meanwhile, since the greatest weight is never
        // skipped; then they make progress.
        loop {
            if let Some(position) = self.at(turns.fetch_add(1, Relaxed)) {
                return position;
            }
        }
    }

    /// Whose turn it is; `None` when the position skips this round, or there is nobody.
    pub(super) fn at(&self, turn: u64) -> Option<usize> {
        let len = self.0.len() as u64;
        let (round, position) = (turn.checked_div(len)?, turn % len);
        let weight = u64::from(self.0[position as usize]);
        let phase = (weight * (round % MAX) + position * SHIFT) % MAX;
        (phase >= MAX - weight).then_some(position as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn turns(weights: &[u32], count: usize) -> Vec<usize> {
        let (stride, turns) = (Stride::new(weights), AtomicU64::new(0));
        (0..count).map(|_| stride.next(&turns)).collect()
    }

    #[test]
    fn follows_the_vector_of_a58() {
        assert_eq!(turns(&[1, 2, 3], 12), [1, 2, 2, 0, 1, 2, 1, 2, 2, 0, 1, 2]);
    }

    #[test]
    fn an_unknown_weight_counts_as_the_mean() {
        assert_eq!(turns(&[1, 0, 3], 60), turns(&[1, 2, 3], 60));
        assert_eq!(turns(&[0, 0, 0], 3), [0, 1, 2], "nothing is known: each in turn");
    }

    #[test]
    fn extreme_weights_are_capped_by_the_mean() {
        // 1 000 times 1 and a million: the mean is 1 000, so the heavy one counts as 10 000, and the floor of a
        // hundredth of the mean lifts the light ones to 10.
        let mut weights = [1; 1_000];
        weights[0] = 1_000_000;
        let heavy = turns(&weights, 19_990).iter().filter(|&&position| position == 0).count();
        assert!((9_900..10_100).contains(&heavy), "{heavy}");
    }

    proptest! {
        #[test]
        fn everybody_gets_a_turn_in_proportion(weights in proptest::collection::vec(1u32..=50, 1..12)) {
            // Within the caps the shares are exact over a full period, and near it over many rounds.
            let total: u32 = weights.iter().sum();
            let mean = f64::from(total) / weights.len() as f64;
            prop_assume!(weights.iter().all(|&w| f64::from(w) <= mean * MAX_TO_MEAN));
            let count = 20_000;
            let mut counts = vec![0usize; weights.len()];
            for position in turns(&weights, count) {
                counts[position] += 1;
            }
            for (&got, &weight) in counts.iter().zip(&weights) {
                let expected = count as f64 * f64::from(weight) / f64::from(total);
                prop_assert!((got as f64 - expected).abs() <= 3.0 + expected * 0.001, "{counts:?}");
            }
        }

        #[test]
        fn no_weights_and_no_turn_are_too_extreme(
            weights in proptest::collection::vec(any::<u32>(), 0..40), turn: u64,
        ) {
            let stride = Stride::new(&weights);
            prop_assert!(stride.next(&AtomicU64::new(turn)) < weights.len().max(1));
        }
    }
}
