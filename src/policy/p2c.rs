//! The better of two.

use std::{hint::select_unpredictable, sync::Arc};

use crate::policy::{Pick, PickContext, Picker, Policy, ReadySet, candidates::Candidates};

/// Picks the less loaded of two random endpoints: the *power of two choices* (Mitzenmacher, 2001).
///
/// Looking for the least loaded of all costs a look at all, and makes every client run to the same endpoint. Two
/// random ones are almost as good at a constant cost. The two are always *distinct*, other than in gRFC A48, whose
/// sampling with replacement compares an endpoint with itself and so sends a hung one of two a quarter of the calls.
///
/// Both are drawn in proportion to weight, and then compared by load per weight. Of two with the same load the first
/// one drawn is picked, so idle endpoints get calls in proportion to their weights.
///
/// What "loaded" means is either constructor's choice. A call that fails fast makes an endpoint no more attractive
/// under any of them; see [`Load::pending`](crate::load::Load::pending).
#[derive(Clone, Copy, Debug)]
pub struct P2c {
    measure: Measure,
}

#[derive(Clone, Copy, Debug)]
enum Measure {
    LeastPending,
    PeakEwma,
}

impl P2c {
    /// Compares the number of pending calls (`p2c_least_pending`; Envoy's `LEAST_REQUEST`). The default policy.
    #[must_use]
    pub fn least_pending() -> Self {
        Self { measure: Measure::LeastPending }
    }

    /// Compares how long a call is expected to wait: the peak-sensitive moving average of the time to response
    /// headers, times one more than the pending calls (`p2c_peak_ewma`; Finagle's and linkerd's default).
    ///
    /// An endpoint that nobody has called yet is taken to be as fast as its rival: so it is neither flooded, as if it
    /// answered in no time, nor starved.
    #[must_use]
    pub fn peak_ewma() -> Self {
        Self { measure: Measure::PeakEwma }
    }
}

impl Default for P2c {
    fn default() -> Self {
        Self::least_pending()
    }
}

impl Policy for P2c {
    fn name(&self) -> &'static str {
        match self.measure {
            Measure::LeastPending => "p2c_least_pending",
            Measure::PeakEwma => "p2c_peak_ewma",
        }
    }

    fn build(&self, ready: &ReadySet) -> Arc<dyn Picker> {
        let candidates = Candidates::new(ready);
        match self.measure {
            Measure::LeastPending => Arc::new(LeastPending(candidates)),
            Measure::PeakEwma => Arc::new(PeakEwma(candidates)),
        }
    }
}

#[derive(Debug)]
struct LeastPending(Candidates);

impl Picker for LeastPending {
    fn pick(&self, context: &PickContext<'_>) -> Pick {
        pick(&self.0, context, |a, b| {
            self.0.pending_per_weight(b, context) < self.0.pending_per_weight(a, context)
        })
    }
}

#[derive(Debug)]
struct PeakEwma(Candidates);

impl Picker for PeakEwma {
    fn pick(&self, context: &PickContext<'_>) -> Pick {
        pick(&self.0, context, |a, b| {
            let latency = |position| self.0.endpoint(position).load().latency_seconds(context.now());
            let (latency_a, latency_b) = match (latency(a), latency(b)) {
                (Some(a), Some(b)) => (a, b),
                _ => (1.0, 1.0),
            };
            // The call itself is the one more. It is not divided by weight: two idle endpoints of the same speed
            // tie, and the draw decides between them.
            let cost =
                |latency: f32, position| latency * (1.0 + self.0.pending_per_weight(position, context));
            cost(latency_b, b) < cost(latency_a, a)
        })
    }
}

impl Candidates {
    fn pending_per_weight(&self, position: usize, context: &PickContext<'_>) -> f32 {
        self.endpoint(position).load().pending(context.now()) as f32 / self.relative_weight(position)
    }
}

/// Draws two and asks whether the second is better.
fn pick(
    candidates: &Candidates,
    context: &PickContext<'_>,
    better: impl FnOnce(usize, usize) -> bool,
) -> Pick {
    let Some((first, second)) = candidates.draw_two(context) else { return Pick::Queue };
    let position = match second {
        // Which one wins is as good as random. A branch would be mispredicted often, and only after both loads have
        // come from memory; without one the next pick's loads are under way meanwhile.
        Some(second) => select_unpredictable(better(first, second), second, first),
        None => first,
    };
    Pick::Endpoint(candidates.index(position))
}
