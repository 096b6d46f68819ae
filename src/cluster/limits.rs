//! How much a cluster takes on (Envoy's circuit breakers).

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

/// Counts the requests of a cluster, up to a limit.
#[derive(Debug)]
pub(super) struct Limits {
    max_requests: usize,
    max_waiting: u64,
    active: AtomicUsize,
    overflowed: AtomicU64,
}

/// One request that is being forwarded, until it is dropped.
#[derive(Debug)]
pub(super) struct Active(Arc<Limits>);

impl Limits {
    pub(super) fn new(max_requests: usize, max_waiting: u64) -> Self {
        Self { max_requests, max_waiting, active: AtomicUsize::new(0), overflowed: AtomicU64::new(0) }
    }

    /// Takes one more request on, or counts that it did not.
    pub(super) fn admit(self: &Arc<Self>, waiting: impl FnOnce() -> u64) -> Option<Active> {
        let active = Active(self.clone());
        let before = self.active.fetch_add(1, Relaxed);
        if before < self.max_requests && waiting() < self.max_waiting {
            return Some(active);
        }
        self.overflowed.fetch_add(1, Relaxed);
        None
    }

    pub(super) fn active(&self) -> usize {
        self.active.load(Relaxed)
    }

    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed.load(Relaxed)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_are_admitted_and_the_rest_is_counted() {
        let limits = Arc::new(Limits::new(2, 10));
        let (first, second) = (limits.admit(|| 0), limits.admit(|| 0));
        assert!(first.is_some() && second.is_some() && limits.admit(|| 0).is_none());
        assert_eq!((limits.active(), limits.overflowed()), (2, 1));
        drop(first);
        assert!(limits.admit(|| 0).is_some());
    }

    #[test]
    fn nobody_is_admitted_while_too_many_wait() {
        let limits = Arc::new(Limits::new(100, 10));
        assert!(limits.admit(|| 10).is_none());
        assert_eq!((limits.active(), limits.overflowed()), (0, 1));
        assert!(limits.admit(|| 9).is_some());
    }
}
