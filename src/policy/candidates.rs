//! Drawing endpoints in proportion to their weights.

use tokio::time::Instant;

use crate::{
    policy::{PickContext, ReadyEndpoint, ReadySet},
    random::Random,
};

/// How often a draw is repeated that hit an excluded endpoint, before the others are looked at one by one.
const DRAWS: usize = 4;

/// The ready endpoints that may be picked, each with its share of the draws.
///
/// A *position* counts among these; the index in the ready set is [`index`](Self::index).
#[derive(Debug)]
pub(super) struct Candidates {
    ready: ReadySet,
    shares: Shares,
}

#[derive(Debug)]
enum Shares {
    /// Every ready endpoint, all alike: a position is an index.
    Even,
    /// Endpoints above weight 0, by their indices.
    Weighted { eligible: Box<[u32]>, alias: Alias, mean: f32 },
}

impl Candidates {
    pub(super) fn new(ready: &ReadySet) -> Self {
        let shares = eligible(ready).map_or(Shares::Even, |eligible| {
            let weights: Vec<u32> =
                eligible.iter().map(|&i| ready.endpoints()[i as usize].weight()).collect();
            let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
            let mean = total as f32 / weights.len() as f32;
            Shares::Weighted { eligible, alias: Alias::new(&weights, total), mean }
        });
        Self { ready: ready.clone(), shares }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        match &self.shares {
            Shares::Even => self.ready.len(),
            Shares::Weighted { eligible, .. } => eligible.len(),
        }
    }

    /// The index in the ready set.
    pub(super) fn index(&self, position: usize) -> usize {
        match &self.shares {
            Shares::Even => position,
            Shares::Weighted { eligible, .. } => eligible[position] as usize,
        }
    }

    fn endpoint(&self, position: usize) -> &ReadyEndpoint {
        &self.ready.endpoints()[self.index(position)]
    }

    /// The weight that a unit of load is divided by: 1 is the mean.
    fn relative_weight(&self, position: usize) -> f32 {
        match &self.shares {
            Shares::Even => 1.0,
            Shares::Weighted { mean, .. } => self.endpoint(position).weight() as f32 / mean,
        }
    }

    /// The pending calls, divided by the relative weight.
    pub(super) fn pending_per_weight(&self, position: usize, now: Instant) -> f32 {
        self.ready.pending(self.index(position), now) as f32 / self.relative_weight(position)
    }

    /// The expected time to response headers.
    pub(super) fn latency_seconds(&self, position: usize, now: Instant) -> Option<f32> {
        self.ready.latency_seconds(self.index(position), now)
    }

    /// A position that the call may go to, other than `besides`; `None` when there is none.
    pub(super) fn draw(&self, context: &PickContext<'_>, besides: Option<usize>) -> Option<usize> {
        let random = context.random();
        let draw = || match &self.shares {
            Shares::Even => random.below(self.len()),
            Shares::Weighted { alias, .. } => alias.draw(random),
        };
        let suits = |position| Some(position) != besides && !context.excludes(self.endpoint(position));
        draw_suitable(self.len(), random, draw, suits)
    }

    /// Two different positions that the call may go to, or one, if that is all there is.
    pub(super) fn draw_two(&self, context: &PickContext<'_>) -> Option<(usize, Option<usize>)> {
        if matches!(self.shares, Shares::Even)
            && !context.has_exclusions()
            && let Some((first, second)) = context.random().two_below(self.len())
        {
            return Some((first, Some(second)));
        }
        let first = self.draw(context, None)?;
        Some((first, self.draw(context, Some(first))))
    }
}

/// The indices of the endpoints above weight 0; `None` when all weights are equal, so that every endpoint is eligible
/// and none has more than its even share. All of them at 0 are equal, too.
pub(super) fn eligible(ready: &ReadySet) -> Option<Box<[u32]>> {
    let endpoints = ready.endpoints();
    if endpoints.windows(2).all(|pair| pair[0].weight() == pair[1].weight()) {
        return None;
    }
    let above_zero = (0u32..).zip(endpoints).filter(|(_, endpoint)| endpoint.weight() > 0);
    Some(above_zero.map(|(index, _)| index).collect())
}

/// A few draws, then every position below `len` once, from a random one on: so one that does not suit passes its
/// share to all others and not to its neighbour, and an answer that exists is always found.
pub(super) fn draw_suitable(
    len: usize,
    random: &Random,
    mut draw: impl FnMut() -> usize,
    suits: impl Fn(usize) -> bool,
) -> Option<usize> {
    if len == 0 {
        return None;
    }
    for _ in 0..DRAWS {
        let position = draw();
        if suits(position) {
            return Some(position);
        }
    }
    let start = random.below(len);
    (start..len).chain(0..start).find(|&position| suits(position))
}

/// Walker's alias method (1977) as built by Vose (1991): a draw by weight takes one column and at most one look
/// elsewhere, whatever the number of endpoints.
#[derive(Debug)]
struct Alias(Box<[Column]>);

#[derive(Clone, Copy, Debug)]
struct Column {
    /// The share of this column, of 2^32, that is its own.
    own: u32,
    /// To whom the rest belongs.
    other: u32,
}

impl Alias {
    /// A table for weights above zero with this sum.
    fn new(weights: &[u32], total: u64) -> Self {
        // Each column holds `total`, and each weight has `weight * len` to spread: all in integers, without error.
        let total = u128::from(total);
        let mut left: Vec<u128> = weights.iter().map(|&w| u128::from(w) * weights.len() as u128).collect();
        let mut columns: Vec<Column> =
            (0u32..).zip(weights).map(|(other, _)| Column { own: u32::MAX, other }).collect();
        let (mut poor, mut rich): (Vec<usize>, Vec<usize>) =
            (0..weights.len()).partition(|&position| left[position] < total);
        while let (Some(&donor), Some(taker)) = (rich.last(), poor.pop()) {
            columns[taker] = Column { own: ((left[taker] << 32) / total) as u32, other: donor as u32 };
            left[donor] -= total - left[taker];
            if left[donor] < total {
                rich.pop();
                poor.push(donor);
            }
        }
        Self(columns.into())
    }

    fn draw(&self, random: &Random) -> usize {
        let bits = random.next();
        let position = (((bits >> 32) * self.0.len() as u64) >> 32) as usize;
        let column = self.0[position];
        if bits as u32 <= column.own { position } else { column.other as usize }
    }
}
