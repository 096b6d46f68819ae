//! Randomness that many calls can draw from at once, without a lock, and that a test can seed.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A shared random source: SplitMix64 over one atomic counter.
///
/// SplitMix64 (Steele, Lea and Flood, 2014) adds a constant to its state and mixes the sum, so a single `fetch_add`
/// makes it lock-free. It is no cryptographic generator; balancing does not need one.
///
/// ```
/// use grpc_balance::random::Random;
///
/// let (a, b) = (Random::seeded(7), Random::seeded(7));
/// assert_eq!(a.next(), b.next());
/// assert!(a.below(3) < 3);
/// ```
#[derive(Debug)]
pub struct Random(AtomicU64);

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// A source seeded by the operating system.
    #[must_use]
    pub fn from_os() -> Self {
        Self::seeded(rand::random())
    }

    /// A source whose sequence is fixed by `seed`.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// The next 64 random bits.
    pub fn next(&self) -> u64 {
        let mut z = self.0.fetch_add(GAMMA, Relaxed).wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, or 0 when `bound` is 0.
    ///
    /// It multiplies rather than divides (Lemire, 2019); for the sizes of endpoint sets the bias is below 2^-32.
    pub fn below(&self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
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
