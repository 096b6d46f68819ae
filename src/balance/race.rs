//! The race of [`Wants::First`](crate::policy::Wants::First): endpoints tried in order until one is ready.
//!
//! gRFC A61: the next attempt starts when an earlier one failed or when the connection attempt delay has passed;
//! earlier attempts go on; the first to be ready wins and the others are given up. When all have failed, each goes on
//! retrying by its own backoff.

use std::time::Duration;

use tokio::time::Instant;

/// gRFC A61 recommends 250 ms between attempts.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How far a contender has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Pending,
    Ready,
    Failed,
}

/// A race among `len` contenders, numbered in the order in which to try them.
#[derive(Debug)]
pub(crate) struct Race {
    len: usize,
    started: usize,
    next_start: Instant,
    winner: Option<usize>,
}

/// Whom to keep trying, or to keep.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entrants {
    /// The first so many.
    First(usize),
    /// The winner alone.
    Winner(usize),
}

impl Race {
    pub(crate) fn new(len: usize, now: Instant) -> Self {
        Self { len, started: len.min(1), next_start: now + ATTEMPT_DELAY, winner: None }
    }

    /// A race that has been won: a contender that is ready and still listed stays (gRFC A62).
    pub(crate) fn won_by(winner: usize, len: usize, now: Instant) -> Self {
        Self { winner: Some(winner), ..Self::new(len, now) }
    }

    /// Moves the race on and says who takes part in it now.
    pub(crate) fn step(&mut self, now: Instant, progress: impl Fn(usize) -> Progress) -> Entrants {
        if let Some(winner) = self.winner {
            if progress(winner) == Progress::Ready {
                return Entrants::Winner(winner);
            }
            // The winner was lost: a new pass, from the front.
            *self = Self::new(self.len, now);
        }
        if let Some(winner) = (0..self.started).find(|&i| progress(i) == Progress::Ready) {
            self.winner = Some(winner);
            return Entrants::Winner(winner);
        }
        while self.started < self.len
            && (now >= self.next_start || (0..self.started).all(|i| progress(i) == Progress::Failed))
        {
            self.started += 1;
            self.next_start = now + ATTEMPT_DELAY;
        }
        Entrants::First(self.started)
    }

    /// When the next contender starts if nothing else happens.
    pub(crate) fn next_start(&self) -> Option<Instant> {
        (self.winner.is_none() && self.started < self.len).then_some(self.next_start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Instant {
        Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_contender_starts_after_the_attempt_delay() {
        let now = start();
        let mut race = Race::new(3, now);
        let pending = |_: usize| Progress::Pending;
        assert_eq!(race.step(now, pending), Entrants::First(1));
        assert_eq!(race.step(now + Duration::from_millis(249), pending), Entrants::First(1));
        assert_eq!(race.step(now + Duration::from_millis(250), pending), Entrants::First(2));
        assert_eq!(race.step(now + Duration::from_millis(500), pending), Entrants::First(3));
        assert_eq!(race.next_start(), None, "the last one has no timer after it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_starts_the_next_contender_at_once() {
        let now = start();
        let mut race = Race::new(3, now);
        let entrants = race.step(now, |i| if i == 0 { Progress::Failed } else { Progress::Pending });
        assert_eq!(entrants, Entrants::First(2));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_to_be_ready_wins_and_a_lost_winner_starts_a_new_pass() {
        let now = start();
        let mut race = Race::new(2, now);
        let second = |i: usize| if i == 1 { Progress::Ready } else { Progress::Failed };
        assert_eq!(race.step(now, |_| Progress::Failed), Entrants::First(2));
        assert_eq!(race.step(now, second), Entrants::Winner(1));
        assert_eq!(race.next_start(), None);
        assert_eq!(race.step(now, |_| Progress::Pending), Entrants::First(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_race_without_contenders_ends() {
        let now = start();
        let mut race = Race::new(0, now);
        assert_eq!(race.step(now, |_| Progress::Pending), Entrants::First(0));
        assert_eq!(race.next_start(), None);
    }
}
