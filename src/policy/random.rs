//! Any endpoint.

use std::sync::Arc;

use crate::policy::{Pick, PickContext, Picker, Policy, ReadySet, candidates::Candidates};

/// Picks any endpoint at random, in proportion to weight (`random`, as Envoy's).
///
/// It shares nothing between threads, and unlike [`RoundRobin`](super::RoundRobin) it does not synchronise clients. It
/// looks at no load: prefer [`P2c`](super::P2c) unless load means nothing here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random(());

impl Random {
    /// The policy.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Policy for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn build(&self, ready: &ReadySet) -> Arc<dyn Picker> {
        Arc::new(RandomPicker(Candidates::new(ready)))
    }
}

#[derive(Debug)]
struct RandomPicker(Candidates);

impl Picker for RandomPicker {
    fn pick(&self, context: &PickContext<'_>) -> Pick {
        self.0.draw(context, None).map_or(Pick::Queue, |position| Pick::Endpoint(self.0.index(position)))
    }
}
