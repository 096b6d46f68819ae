//! How resolving goes, for whoever wants to look.

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::error::Error;

/// A handle on how a resolver fares: when it last succeeded, and what went wrong last.
///
/// Cheap to clone and to read, from any thread.
#[derive(Clone, Default)]
pub struct Status(Arc<ArcSwap<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    resolved_at: Option<Instant>,
    last_error: Option<Error>,
    attempts: u64,
    failures: u64,
}

impl Status {
    /// When the endpoints were last confirmed; `None` before the first success.
    #[must_use]
    pub fn resolved_at(&self) -> Option<Instant> {
        self.0.load().resolved_at
    }

    /// How long ago the endpoints were last confirmed; `None` before the first success.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.resolved_at().map(|at| at.elapsed())
    }

    /// What the latest resolution failed of; `None` if it succeeded.
    ///
    /// There may be an error beside a fresh set: one address family failed, the other did not.
    #[must_use]
    pub fn last_error(&self) -> Option<Error> {
        self.0.load().last_error.clone()
    }

    /// How many resolutions were completed, failed ones included.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.0.load().attempts
    }

    /// How many resolutions confirmed nothing.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.0.load().failures
    }

    /// Notes a resolution that confirmed endpoints, in spite of `error` if there is one. Only the resolver writes.
    #[cfg_attr(not(feature = "dns"), expect(dead_code, reason = "only DNS resolves more than once"))]
    pub(super) fn succeeded(&self, now: Instant, error: Option<Error>) {
        let state = State::clone(&self.0.load());
        self.0.store(Arc::new(State {
            resolved_at: Some(now),
            last_error: error,
            attempts: state.attempts.saturating_add(1),
            ..state
        }));
    }

    /// Notes a resolution that confirmed nothing.
    #[cfg_attr(not(feature = "dns"), expect(dead_code, reason = "only DNS resolves more than once"))]
    pub(super) fn failed(&self, error: Error) {
        let state = State::clone(&self.0.load());
        self.0.store(Arc::new(State {
            last_error: Some(error),
            attempts: state.attempts.saturating_add(1),
            failures: state.failures.saturating_add(1),
            ..state
        }));
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.load();
        f.debug_struct("Status")
            .field("age", &self.age())
            .field("last_error", &state.last_error)
            .field("attempts", &state.attempts)
            .field("failures", &state.failures)
            .finish()
    }
}
