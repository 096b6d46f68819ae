//! What outlier detection counts of an endpoint's calls.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::{
    streak::Streak,
    sync::{AtomicU8, AtomicU64},
};
use crate::grpc::Outcome;

const NO_TRIAL: u8 = 0;
const TRIAL_IS_FREE: u8 = 1;
const TRIAL_IS_UNDER_WAY: u8 = 2;
const TRIAL_HAS_FAILED: u8 = 3;

/// How an endpoint's calls went, by the classifier of outlier detection, and whether it gets one call at a time.
#[derive(Debug, Default)]
pub(crate) struct Conduct {
    pub(crate) streak: Streak,
    succeeded: AtomicU64,
    failed: AtomicU64,
    trial: AtomicU8,
}

impl Conduct {
    pub(crate) fn count(&self, outcome: Outcome) {
        match outcome {
            Outcome::Success => self.succeeded.fetch_add(1, Relaxed),
            Outcome::Failure => self.failed.fetch_add(1, Relaxed),
            Outcome::Cancelled => return,
        };
    }

    /// Calls that succeeded, and calls that failed.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.succeeded.load(Relaxed), self.failed.load(Relaxed))
    }

    /// From now on one call at a time, or as many as there are.
    pub(crate) fn set_trial(&self, trial: bool) {
        self.trial.store(if trial { TRIAL_IS_FREE } else { NO_TRIAL }, Release);
    }

    /// Asks to call the endpoint. `None` while its one call is under way; else whether the call is that one, which
    /// [`end_trial`](Self::end_trial) must follow.
    pub(crate) fn admit(&self) -> Option<bool> {
        match self.trial.load(Relaxed) {
            NO_TRIAL => Some(false),
            _ => match self.trial.compare_exchange(TRIAL_IS_FREE, TRIAL_IS_UNDER_WAY, AcqRel, Acquire) {
                Ok(_) => Some(true),
                Err(NO_TRIAL) => Some(false),
                Err(_) => None,
            },
        }
    }

    /// The one call has ended. After a success every call may go; after a failure none, until the next trial; and when
    /// its end says nothing, the next one is the trial.
    pub(crate) fn end_trial(&self, outcome: Outcome) {
        let next = match outcome {
            Outcome::Success => NO_TRIAL,
            Outcome::Failure => TRIAL_HAS_FAILED,
            Outcome::Cancelled => TRIAL_IS_FREE,
        };
        // Whoever begins another trial meanwhile has the last word.
        let _ = self.trial.compare_exchange(TRIAL_IS_UNDER_WAY, next, AcqRel, Acquire);
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use super::*;

    #[test]
    fn a_trial_is_one_call_at_a_time_until_it_is_over() {
        let conduct = Conduct::default();
        assert_eq!([conduct.admit(), conduct.admit()], [Some(false), Some(false)]);
        conduct.set_trial(true);
        assert_eq!([conduct.admit(), conduct.admit()], [Some(true), None]);
        conduct.end_trial(Outcome::Cancelled);
        assert_eq!(conduct.admit(), Some(true), "an end that says nothing makes room for the next");
        conduct.end_trial(Outcome::Failure);
        conduct.end_trial(Outcome::Cancelled);
        assert_eq!(conduct.admit(), None, "after a failure none, until the next trial");
        conduct.set_trial(true);
        assert_eq!(conduct.admit(), Some(true));
        conduct.end_trial(Outcome::Success);
        assert_eq!([conduct.admit(), conduct.admit()], [Some(false), Some(false)]);
    }
}
