//! When a connection that is up has to go, as a state machine without I/O.
//!
//! ```text
//!            idle, too old, or the server drains                 hyper has finished it
//!   serving ─────────────────────────────────────► leaving ───────────────────────────► closed
//!      │                                              │ the grace is over, or nothing is left to do
//!      │ a head that is begun and not finished        ▼ and the peer does not acknowledge
//!      └───────────────────────────────────────────► cut
//! ```

use std::time::Duration;

use tokio::time::Instant;

/// How long a peer that has no request open may take to acknowledge a GOAWAY, counted from the last byte that it
/// took. grpc-go's server allows as much.
pub(super) const ACKNOWLEDGEMENT: Duration = Duration::from_secs(5);

/// Why a connection is asked to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    Idle,
    Aged,
    Drained,
}

/// Why a connection is closed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The peer began a head and did not finish it.
    Head,
    /// Its requests did not end in the grace.
    Grace,
    /// Nothing was left to do, and it did not acknowledge the GOAWAY.
    Unacknowledged,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing to do before this.
    Wait(Option<Instant>),
    /// Say GOAWAY, and take nothing new. Ask again.
    Leave(Leave),
    Cut(Cut),
}

#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) head: Option<Duration>,
    pub(super) idle: Option<Duration>,
    /// The age, with its jitter.
    pub(super) age: Option<Duration>,
    pub(super) age_grace: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Observation {
    pub(super) now: Instant,
    pub(super) active: usize,
    pub(super) idle_since: Instant,
    pub(super) owed_since: Option<Instant>,
    pub(super) written: u64,
    pub(super) draining: bool,
}

#[derive(Debug)]
pub(super) struct Lifecycle {
    limits: Limits,
    begun: Instant,
    leaving: Option<Leaving>,
}

#[derive(Debug)]
struct Leaving {
    /// A drain has no deadline here: the server itself ends.
    deadline: Option<Instant>,
    written: u64,
    quiet_since: Instant,
}

impl Lifecycle {
    pub(super) fn new(limits: Limits, begun: Instant) -> Self {
        Self { limits, begun, leaving: None }
    }

    pub(super) fn step(&mut self, seen: Observation) -> Step {
        match &mut self.leaving {
            Some(leaving) => leaving.step(seen),
            None => self.serve(seen),
        }
    }

    fn serve(&mut self, seen: Observation) -> Step {
        if seen.draining {
            return self.leave(seen, Leave::Drained, None);
        }
        let after = |since: Instant, limit: Option<Duration>| since.checked_add(limit?);
        let head = seen.owed_since.and_then(|since| after(since, self.limits.head));
        if head.is_some_and(|at| at <= seen.now) {
            return Step::Cut(Cut::Head);
        }
        let age = after(self.begun, self.limits.age);
        if age.is_some_and(|at| at <= seen.now) {
            return self.leave(seen, Leave::Aged, self.limits.age_grace);
        }
        let idle = if seen.active == 0 { after(seen.idle_since, self.limits.idle) } else { None };
        if idle.is_some_and(|at| at <= seen.now) {
            return self.leave(seen, Leave::Idle, self.limits.age_grace);
        }
        Step::Wait([head, age, idle].into_iter().flatten().min())
    }

    fn leave(&mut self, seen: Observation, why: Leave, grace: Option<Duration>) -> Step {
        let deadline = grace.and_then(|grace| seen.now.checked_add(grace));
        self.leaving = Some(Leaving { deadline, written: seen.written, quiet_since: seen.now });
        Step::Leave(why)
    }
}

impl Leaving {
    fn step(&mut self, seen: Observation) -> Step {
        if self.deadline.is_some_and(|at| at <= seen.now) {
            return Step::Cut(Cut::Grace);
        }
        if seen.active > 0 || seen.written != self.written {
            // A response that a slow peer still takes is not to be truncated.
            self.written = seen.written;
            self.quiet_since = seen.now;
        }
        if seen.active > 0 {
            return Step::Wait(self.deadline);
        }
        match self.quiet_since.checked_add(ACKNOWLEDGEMENT) {
            Some(at) if at <= seen.now => Step::Cut(Cut::Unacknowledged),
            quiet => Step::Wait(self.deadline.into_iter().chain(quiet).min()),
        }
    }
}

#[cfg(test)]
mod tests;
