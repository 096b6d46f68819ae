//! Randomness that many calls can draw from at once, without a lock, and that a test can seed.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// A shared random source: SplitMix64.
///
/// SplitMix64 (Steele, Lea and Flood, 2014) adds a constant to its state and mixes the sum. A seeded source keeps the
/// state in one atomic, so that its sequence is fixed; a source seeded by the operating system keeps one state per
/// thread, so that threads which pick at the same time share no cache line. It is no cryptographic generator;
/// balancing does not need one.
///
/// ```
/// use grpc_balance::random::Random;
///
/// let (a, b) = (Random::seeded(7), Random::seeded(7));
/// assert_eq!(a.next(), b.next());
/// assert!(a.below(3) < 3);
/// ```
#[derive(Debug)]
pub struct Random(State);

#[derive(Debug)]
enum State {
    PerThread,
    Seeded(AtomicU64),
}

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

thread_local! {
    static PER_THREAD: Cell<u64> = Cell::new(rand::random());
}

impl Random {
    /// A source seeded by the operating system.
    #[must_use]
    pub const fn from_os() -> Self {
        Self(State::PerThread)
    }

    /// A source whose sequence is fixed by `seed`.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self(State::Seeded(AtomicU64::new(seed)))
    }

    /// The next 64 random bits.
    pub fn next(&self) -> u64 {
        let mut z = match &self.0 {
            State::PerThread => PER_THREAD.with(|state| {
                let next = state.get().wrapping_add(GAMMA);
                state.set(next);
                next
            }),
            State::Seeded(state) => state.fetch_add(GAMMA, Relaxed).wrapping_add(GAMMA),
        };
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, or 0 when `bound` is 0.
    ///
    /// It multiplies rather than divides (Lemire, 2019); for the sizes of endpoint sets the bias is below 2^-32.
    pub fn below(&self, bound: usize) -> usize {
        scale(self.next(), bound)
    }

    /// Two different numbers below `bound`, each pair as likely as any other; `None` when `bound` is below 2.
    pub fn two_below(&self, bound: usize) -> Option<(usize, usize)> {
        if bound < 2 {
            return None;
        }
        let bits = self.next();
        // One draw is enough for both: 32 bits choose evenly among any number of endpoints that fits into memory.
        let first = scale(bits & 0xffff_ffff_0000_0000, bound);
        let second = scale(bits << 32, bound - 1);
        Some((first, second + usize::from(second >= first)))
    }

    /// A number in `[0, 1)`.
    pub fn unit(&self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::from_os()
    }
}

/// Maps 64 bits to a number below `bound`.
fn scale(bits: u64, bound: usize) -> usize {
    ((u128::from(bits) * bound as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_below_yields_every_ordered_pair_evenly() {
        let random = Random::seeded(3);
        let mut counts = [[0u32; 5]; 5];
        for _ in 0..20_000 {
            let (a, b) = random.two_below(5).unwrap();
            counts[a][b] += 1;
        }
        for (a, row) in counts.iter().enumerate() {
            for (b, &count) in row.iter().enumerate() {
                // 1 000 each is expected; 150 is almost five standard deviations.
                let fair = if a == b { count == 0 } else { count.abs_diff(1_000) < 150 };
                assert!(fair, "({a}, {b}): {count}");
            }
        }
        assert_eq!((random.two_below(1), random.two_below(0)), (None, None));
    }

    #[test]
    fn threads_draw_different_sequences_from_the_operating_system() {
        static RANDOM: Random = Random::from_os();
        let here = RANDOM.next();
        let there = std::thread::spawn(|| RANDOM.next()).join().unwrap();
        assert_ne!(here, there);
        assert_ne!(here, RANDOM.next());
    }
}
