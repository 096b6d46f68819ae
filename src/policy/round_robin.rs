//! Each in turn.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::{
    policy::{
        Pick, PickContext, Picker, Policy, ReadySet,
        candidates::{draw_suitable, eligible},
        stride::Stride,
    },
    random::Random,
};

/// How often to jump until a turn is not skipped. Weights that are orders of magnitude apart skip most turns and may
/// need more; then the skew lasts for one call.
const JUMPS: usize = 64;

/// Picks each endpoint in turn, heavier ones more often (`round_robin`).
///
/// One cursor runs through all pickers that the policy builds, for all workers, and starts at random. A picker that is
/// built for the same endpoints goes on where the one before it stopped. When the endpoints have changed the cursor
/// jumps to a random place, since what follows it has another meaning now. So neither clients that start together nor
/// a set that changes all the time favour any endpoint.
///
/// Weighted turns follow gRFC A58's static stride scheduler, smoothly (1:2:3 is `1 2 2 0 1 2`) and without a lock. A
/// weight counts as at least a hundredth and at most ten times the mean, as there.
#[derive(Debug)]
pub struct RoundRobin {
    cursor: Arc<AtomicU64>,
    random: Random,
    /// Tells whether the endpoints or their weights have changed since the last picker.
    fingerprint: AtomicU64,
}

impl RoundRobin {
    /// The policy, starting at random.
    #[must_use]
    pub fn new() -> Self {
        Self::with_random(Random::from_os())
    }

    /// The policy with a start and jumps that are fixed by `seed`, for tests and simulations.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::with_random(Random::seeded(seed))
    }

    fn with_random(random: Random) -> Self {
        Self { cursor: Arc::default(), random, fingerprint: AtomicU64::new(0) }
    }

    /// Moves the cursor to a random turn. One that is skipped would give its share to whoever is next, so the cursor
    /// moves on until it is at one that is not.
    fn jump(&self, stride: Option<&Stride>) {
        for _ in 0..JUMPS {
            let distance = self.random.next();
            let turn = self.cursor.fetch_add(distance, Relaxed).wrapping_add(distance);
            if stride.is_none_or(|stride| stride.at(turn).is_some()) {
                return;
            }
        }
    }
}

impl Default for RoundRobin {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy for RoundRobin {
    fn name(&self) -> &'static str {
        "round_robin"
    }

    fn build(&self, ready: &ReadySet) -> Arc<dyn Picker> {
        let weighted = eligible(ready).map(|eligible| {
            let weights: Vec<u32> =
                eligible.iter().map(|&i| ready.endpoints()[i as usize].weight()).collect();
            (eligible, Stride::new(&weights))
        });
        let fingerprint = fingerprint(ready);
        if self.fingerprint.swap(fingerprint, Relaxed) != fingerprint {
            self.jump(weighted.as_ref().map(|(_, stride)| stride));
        }
        Arc::new(RoundRobinPicker { ready: ready.clone(), weighted, cursor: self.cursor.clone() })
    }
}

#[derive(Debug)]
struct RoundRobinPicker {
    ready: ReadySet,
    /// The endpoints above weight 0 and their schedule, unless all weights are equal.
    weighted: Option<(Box<[u32]>, Stride)>,
    cursor: Arc<AtomicU64>,
}

impl RoundRobinPicker {
    /// The index of the next endpoint; the set is not empty.
    fn next(&self) -> usize {
        match &self.weighted {
            None => (self.cursor.fetch_add(1, Relaxed) % self.ready.len() as u64) as usize,
            Some((eligible, stride)) => eligible[stride.next(&self.cursor)] as usize,
        }
    }
}

impl Picker for RoundRobinPicker {
    fn pick(&self, context: &PickContext<'_>) -> Pick {
        if self.ready.is_empty() {
            return Pick::Queue;
        }
        if !context.has_exclusions() {
            return Pick::Endpoint(self.next());
        }
        let endpoints = self.ready.endpoints();
        // Among equals weights tell nothing; otherwise they were not equal, and 0 is not eligible.
        let suits = |index: usize| {
            (self.weighted.is_none() || endpoints[index].weight() > 0) && !context.excludes(&endpoints[index])
        };
        draw_suitable(endpoints.len(), context.random(), || self.next(), suits)
            .map_or(Pick::Queue, Pick::Endpoint)
    }
}

/// A number that differs, but for a chance of one in 2^64, when the endpoints, their order or their weights do.
fn fingerprint(ready: &ReadySet) -> u64 {
    // FNV-1a by words; nobody gains by forging a collision.
    let words = ready.endpoints().iter().flat_map(|e| [e.id().get(), u64::from(e.weight())]);
    words.fold(0xcbf2_9ce4_8422_2325, |hash, word| {
        (hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(29)
    })
}
