//! Counters that every call bumps and hardly anybody reads.

use std::{
    array, fmt,
    num::NonZero,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    thread,
};

/// `N` counters, with one set of them for each thread that counts, as far as the machine has cores.
///
/// One counter shared by all cores would cost each call a cache miss. These cost an uncontended add; reading sums up.
pub(super) struct Shards<const N: usize>(Box<[Shard<N>]>);

// Two lines of 64 bytes: x86 prefetches them in pairs, and Apple's cores have lines of 128.
#[repr(align(128))]
struct Shard<const N: usize>([AtomicU64; N]);

const MAX_SHARDS: usize = 16;

impl<const N: usize> Shards<N> {
    pub(super) fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let shards = cores.min(MAX_SHARDS);
        Self((0..shards).map(|_| Shard(array::from_fn(|_| AtomicU64::new(0)))).collect())
    }

    /// Adds one to a counter.
    pub(super) fn increment(&self, counter: usize) {
        thread_local! {
            static THREAD: usize = {
                static NEXT: AtomicUsize = AtomicUsize::new(0);
                NEXT.fetch_add(1, Relaxed)
            };
        }
        // A destructor of the thread's own may count after the number is gone; any shard will do.
        let thread = THREAD.try_with(|thread| *thread).unwrap_or(0);
        if let Some(counter) = self.0.get(thread % self.0.len()).and_then(|shard| shard.0.get(counter)) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// What each counter adds up to. Counters that move meanwhile may or may not be caught.
    pub(super) fn sum(&self) -> [u64; N] {
        let mut sums = [0u64; N];
        for shard in &self.0 {
            for (sum, counter) in sums.iter_mut().zip(&shard.0) {
                *sum = sum.wrapping_add(counter.load(Relaxed));
            }
        }
        sums
    }
}

impl<const N: usize> fmt::Debug for Shards<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sum()).finish()
    }
}
