//! Who among the endpoints may get calls: verdicts, ejection, panic and slow start, put together.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    balance::{members::Members, plane::Held},
    health::Panic,
    slow_start::SlowStart,
};

/// What weights are multiplied by under slow start, so that a tenth of weight 1 is a number.
const SCALE: f64 = 1_000.0;
/// How many steps a ramp has: each is a publication.
const STEPS: u32 = 50;

/// How one endpoint stands.
///
/// It is what every publication looks at; the causes are elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    /// Whether it gets no calls before its first verdict.
    probed: bool,
    /// Whether the latest verdict passes; `None` before the first one.
    pub(crate) passing: Option<bool>,
    pub(crate) ejected: bool,
    /// Since when it has been getting calls.
    admitted: Option<Instant>,
    /// Whether its weight grows from the moment that it was admitted.
    ramps: bool,
}

impl Standing {
    /// That of an endpoint which gets no calls before its first verdict, if it is probed.
    pub(crate) fn new(probed: bool) -> Self {
        Self { probed, ..Self::default() }
    }

    pub(crate) fn is_admitted(&self) -> bool {
        self.admitted.is_some()
    }

    /// Healthy, were it connected.
    pub(crate) fn is_fit(&self) -> bool {
        self.passing.unwrap_or(!self.probed) && !self.ejected
    }

    pub(crate) fn is_awaiting(&self) -> bool {
        self.probed && self.passing.is_none()
    }
}

/// Counts of the endpoints of a set.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Census {
    pub(crate) awaiting: usize,
    pub(crate) healthy: usize,
    pub(crate) ready: usize,
    pub(crate) ejected: usize,
}

/// Decides who is admitted.
#[derive(Debug)]
pub(crate) struct Admission {
    panic: Panic,
    slow_start: Option<SlowStart>,
    pub(crate) is_panicking: bool,
    /// When some endpoint's weight is to grow.
    pub(crate) next_step: Option<Instant>,
}

impl Admission {
    pub(crate) fn new(panic: Panic, slow_start: Option<SlowStart>) -> Self {
        Self { panic, slow_start, is_panicking: false, next_step: None }
    }

    /// Admits whoever is ready and fit; in panic, whoever is ready and has had a verdict.
    pub(crate) fn admit<C>(&mut self, members: &mut Members<Held<C>>, now: Instant) -> Census
    where
        C: Send + Sync + 'static,
    {
        let (mut census, mut fit) = (Census::default(), 0);
        for member in members.iter() {
            let (standing, ready) = (&member.state.standing, member.state.ready.is_some());
            let is_fit = standing.is_fit();
            fit += usize::from(is_fit);
            census.awaiting += usize::from(standing.is_awaiting());
            census.ready += usize::from(ready);
            census.ejected += usize::from(standing.ejected);
            census.healthy += usize::from(is_fit && ready);
        }
        self.is_panicking = self.panic.is_panic(fit, members.len() - census.awaiting);
        // Whoever comes when all others are new as well has nobody to be compared with.
        let any_old = members.iter().any(|member| {
            let elapsed = member.state.standing.admitted.map(|at| now.saturating_duration_since(at));
            self.slow_start.zip(elapsed).is_some_and(|(slow_start, elapsed)| slow_start.is_over(elapsed))
        });
        self.next_step = None;
        members.for_each_mut(|_, member| {
            let state = &mut member.state;
            let standing = &mut state.standing;
            let may = standing.is_fit() || self.is_panicking && !standing.is_awaiting();
            let admitted = may && state.ready.is_some();
            let changes = admitted != standing.is_admitted();
            match (admitted, standing.admitted) {
                (true, None) => {
                    standing.admitted = Some(now);
                    standing.ramps = any_old;
                }
                (false, Some(_)) => standing.admitted = None,
                _ => {}
            }
            if changes {
                state.serve_waiting(admitted);
            }
            let standing = &state.standing;
            if let (Some(slow_start), Some(ready)) = (self.slow_start, &mut state.ready) {
                let weight = member.endpoint.weight();
                let elapsed = standing.admitted.map(|at| now.saturating_duration_since(at));
                let growing = elapsed.filter(|&elapsed| standing.ramps && !slow_start.is_over(elapsed));
                let factor = growing.map_or(1.0, |elapsed| slow_start.factor(elapsed));
                if growing.is_some() {
                    self.next_step = now.checked_add(step(slow_start.window()));
                }
                // `as` saturates. Weight 0 stays what it is, and nothing else becomes it.
                let scaled = (f64::from(weight) * SCALE * factor) as u32;
                ready.set_weight(scaled.max(u32::from(weight > 0)));
            }
        });
        census
    }
}

fn step(window: Duration) -> Duration {
    (window / STEPS).max(Duration::from_millis(10))
}
