//! Where a call must not go: endpoints that it tried, and endpoints that cannot take it just now.

use smallvec::SmallVec;

use crate::load::LoadId;

/// Three kinds of exclusion, each with its own end, in one slice for the picker.
///
/// An endpoint that *refused* the call stays excluded. One whose connection turned out to be *dead* is excluded until
/// a newer snapshot tells the truth about it; without that, the call would spin on it. One that is *full* is excluded
/// for one choice.
#[derive(Debug, Default)]
pub(crate) struct Exclusions {
    /// The refused, then the dead, then the full.
    ids: SmallVec<[LoadId; 4]>,
    refused: usize,
    dead: usize,
    /// The snapshot that still shows the dead as ready.
    generation: u64,
}

impl Exclusions {
    /// Starts a choice among the endpoints of this generation.
    pub(crate) fn begin(&mut self, generation: u64) {
        if generation != self.generation {
            self.generation = generation;
            self.dead = 0;
        }
        self.ids.truncate(self.refused + self.dead);
    }

    /// Excludes an endpoint for the rest of this choice.
    pub(crate) fn full(&mut self, id: LoadId) {
        self.ids.push(id);
    }

    /// Whether nothing but refusals stands in the way.
    pub(crate) fn only_refused(&self) -> bool {
        self.refused > 0 && self.ids.len() == self.refused
    }

    /// How many endpoints were full in this choice.
    pub(crate) fn full_count(&self) -> usize {
        self.ids.len() - self.refused - self.dead
    }

    /// Excludes an endpoint that was dead although this generation shows it as ready, until the generation changes.
    pub(crate) fn dead(&mut self, id: LoadId, generation: u64) {
        self.begin(generation);
        self.ids.push(id);
        self.dead += 1;
    }

    /// Excludes an endpoint for good.
    pub(crate) fn refused(&mut self, id: LoadId) {
        self.ids.insert(self.refused, id);
        self.refused += 1;
    }

    /// Lets the endpoints that refused the call be chosen again.
    pub(crate) fn forgive(&mut self) {
        self.ids.drain(..self.refused);
        self.refused = 0;
    }

    /// What the picker must leave out.
    pub(crate) fn as_slice(&self) -> &[LoadId] {
        &self.ids
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::load::Load;

    fn id() -> LoadId {
        Load::new(Arc::default()).id()
    }

    #[test]
    fn each_kind_of_exclusion_ends_when_it_should() {
        let (refused, dead, full) = (id(), id(), id());
        let mut exclusions = Exclusions::default();
        exclusions.begin(1);
        exclusions.refused(refused);
        exclusions.dead(dead, 1);
        exclusions.full(full);
        assert_eq!(exclusions.as_slice(), [refused, dead, full]);
        exclusions.begin(1);
        assert_eq!(exclusions.as_slice(), [refused, dead]);
        exclusions.begin(2);
        assert_eq!(exclusions.as_slice(), [refused]);
        assert!(exclusions.only_refused());
    }

    #[test]
    fn a_later_refusal_keeps_the_dead_excluded() {
        let (refused, dead) = (id(), id());
        let mut exclusions = Exclusions::default();
        exclusions.begin(1);
        exclusions.dead(dead, 1);
        exclusions.refused(refused);
        exclusions.begin(1);
        assert_eq!(exclusions.as_slice(), [refused, dead]);
    }
}
