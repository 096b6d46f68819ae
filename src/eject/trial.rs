//! One call at a time to an endpoint that comes back.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use crate::{eject::sync::AtomicU32, grpc::Outcome};

/// No trial: any call may go.
const OPEN: u32 = 0;
/// On trial, and no call is under way.
const FREE: u32 = 1;
/// On trial, and a call is under way, or has failed.
const TAKEN: u32 = 2;

/// Admits the calls to one endpoint: all of them, or one at a time while it is [on
/// trial](crate::eject::Change::OnTrial).
///
/// Lock-free; an endpoint that is not on trial costs a call one relaxed load. A trial passes at once for the calls, as
/// the first of them succeeds; [`Outliers::tried`](crate::eject::Outliers::tried) is to be told nevertheless.
///
/// ```
/// use std::sync::Arc;
/// use grpc_balance::{eject::{Admission, Trial}, grpc::Outcome};
///
/// let trial = Arc::new(Trial::new());
/// assert!(matches!(trial.admit(), Admission::Open));
///
/// trial.begin();
/// let Admission::Trial(call) = trial.admit() else { panic!("the first call is the trial") };
/// assert!(matches!(trial.admit(), Admission::Busy), "the second goes elsewhere");
/// call.ended(Outcome::Success);
/// assert!(matches!(trial.admit(), Admission::Open));
/// ```
#[derive(Debug)]
pub struct Trial(AtomicU32);

/// Whether a call may go to an endpoint.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "a call goes, goes as the trial, or goes elsewhere")]
pub enum Admission {
    /// It may: the endpoint is not on trial.
    Open,
    /// It may, and it is the trial.
    Trial(TrialCall),
    /// Another call is the trial. If there is no other endpoint, it may go all the same: a trial is there to protect
    /// calls from the endpoint, not to lose them.
    Busy,
}

/// The call that tries an endpoint. Dropped without an end, it makes room for the next one.
#[derive(Debug)]
pub struct TrialCall {
    trial: Arc<Trial>,
    after: u32,
}

impl Trial {
    /// No trial.
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicU32::new(OPEN))
    }

    /// From now on one call at a time.
    pub fn begin(&self) {
        self.0.store(FREE, Relaxed);
    }

    /// Asks for a call whether it may go.
    #[must_use]
    pub fn admit(self: &Arc<Self>) -> Admission {
        if self.0.load(Relaxed) == OPEN {
            return Admission::Open;
        }
        match self.0.compare_exchange(FREE, TAKEN, Relaxed, Relaxed) {
            Ok(_) => Admission::Trial(TrialCall { trial: self.clone(), after: FREE }),
            Err(_) => Admission::Busy,
        }
    }
}

impl Default for Trial {
    fn default() -> Self {
        Self::new()
    }
}

impl TrialCall {
    /// The call ended so. A stream that may live long has proven itself when its response's headers arrive.
    ///
    /// After a success every call may go; after a failure none, until the next trial [begins](Trial::begin).
    pub fn ended(mut self, outcome: Outcome) {
        self.after = match outcome {
            Outcome::Success => OPEN,
            Outcome::Failure => TAKEN,
            Outcome::Cancelled => FREE,
        };
    }
}

impl Drop for TrialCall {
    fn drop(&mut self) {
        // Nobody else leaves this state but `begin`, whose trial is a new one.
        let _ = self.trial.0.compare_exchange(TAKEN, self.after, Relaxed, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_trial() -> (Arc<Trial>, TrialCall) {
        let trial = Arc::new(Trial::new());
        trial.begin();
        let Admission::Trial(call) = trial.admit() else { panic!("the first call is the trial") };
        assert!(matches!(trial.admit(), Admission::Busy));
        (trial, call)
    }

    #[test]
    fn a_success_admits_everybody() {
        let (trial, call) = on_trial();
        call.ended(Outcome::Success);
        assert!(matches!(trial.admit(), Admission::Open));
    }

    #[test]
    fn a_failure_admits_nobody_until_the_next_trial() {
        let (trial, call) = on_trial();
        call.ended(Outcome::Failure);
        assert!(matches!(trial.admit(), Admission::Busy));
        trial.begin();
        assert!(matches!(trial.admit(), Admission::Trial(_)));
    }

    #[test]
    fn a_call_that_says_nothing_makes_room_for_the_next() {
        let (trial, call) = on_trial();
        call.ended(Outcome::Cancelled);
        let Admission::Trial(dropped) = trial.admit() else { panic!("there is room") };
        drop(dropped);
        assert!(matches!(trial.admit(), Admission::Trial(_)));
    }
}
