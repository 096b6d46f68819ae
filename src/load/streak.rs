//! Failures in a row.

use std::sync::atomic::Ordering::Relaxed;

use super::sync::AtomicU64;

/// How a call failed, of which too many in a row eject an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The endpoint answered with a status that the classifier takes for a
    /// [failure](crate::grpc::Outcome::Failure), UNAVAILABLE for one (Envoy's `consecutive_gateway_failure`).
    GatewayError,
    /// There was no answer: the connection broke, or was not established, or timed out (Envoy's
    /// `consecutive_local_origin_failure`).
    LocalOrigin,
}

/// How many calls to one endpoint failed in a row, by [`Kind`].
///
/// Lock-free: calls that end on many threads share it. [`clear`](Self::clear) runs at every call that succeeds, and
/// only reads while nothing fails.
///
/// ```
/// use grpc_balance::{eject::Eject, load::{Kind, Streak}};
///
/// let (settings, streak) = (Eject::new(), Streak::new());
/// let tells = (1..=10).map(|_| settings.trips(Kind::GatewayError, streak.hit(Kind::GatewayError)));
/// assert_eq!(tells.filter(|&trips| trips).count(), 2, "at the fifth, and at the tenth if it went on");
///
/// streak.clear();
/// assert_eq!(streak.hit(Kind::GatewayError), 1);
/// ```
// Gateway errors in the lower half, failures of local origin in the upper: one load sees both, and a clearing of both
// is one step to everybody else.
#[derive(Debug)]
pub struct Streak(AtomicU64);

impl Streak {
    /// No failures.
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts a failure; how many of its kind there were in a row, itself included.
    ///
    /// An error that the endpoint answered ends a streak of the other kind, since the transport works. A failure of
    /// local origin says nothing about the answers.
    pub fn hit(&self, kind: Kind) -> u32 {
        let mut current = self.0.load(Relaxed);
        loop {
            let (gateway, local) = (current as u32, (current >> 32) as u32);
            let (count, next) = match kind {
                Kind::GatewayError => {
                    let gateway = gateway.saturating_add(1);
                    (gateway, u64::from(gateway))
                }
                Kind::LocalOrigin => {
                    let local = local.saturating_add(1);
                    (local, u64::from(local) << 32 | u64::from(gateway))
                }
            };
            match self.0.compare_exchange_weak(current, next, Relaxed, Relaxed) {
                Ok(_) => return count,
                Err(seen) => current = seen,
            }
        }
    }

    /// A call succeeded, or the endpoint begins anew: there are no failures in a row.
    pub fn clear(&self) {
        if self.0.load(Relaxed) != 0 {
            // Not a store: with `hit` this makes one order of read-modify-writes, which the model checker can follow.
            self.0.swap(0, Relaxed);
        }
    }
}

impl Default for Streak {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_apart() {
        let streak = Streak::new();
        assert_eq!([Kind::GatewayError, Kind::GatewayError].map(|kind| streak.hit(kind)), [1, 2]);
        assert_eq!([Kind::LocalOrigin, Kind::LocalOrigin].map(|kind| streak.hit(kind)), [1, 2]);
        assert_eq!(streak.hit(Kind::GatewayError), 3, "a transport failure is no answer");
        assert_eq!(streak.hit(Kind::LocalOrigin), 1, "an answer came meanwhile");
    }

    #[test]
    fn a_success_clears_both_kinds() {
        let streak = Streak::new();
        for kind in [Kind::GatewayError, Kind::LocalOrigin] {
            streak.hit(kind);
        }
        streak.clear();
        assert_eq!([Kind::LocalOrigin, Kind::GatewayError].map(|kind| streak.hit(kind)), [1, 1]);
    }

    #[test]
    fn an_endless_streak_neither_wraps_nor_spills_into_the_other_kind() {
        let streak = Streak(AtomicU64::new(u64::from(u32::MAX)));
        assert_eq!(streak.hit(Kind::GatewayError), u32::MAX);
        assert_eq!(streak.hit(Kind::LocalOrigin), 1);
        let streak = Streak(AtomicU64::new(u64::from(u32::MAX) << 32));
        assert_eq!(streak.hit(Kind::LocalOrigin), u32::MAX);
    }

    #[test]
    fn every_length_of_a_streak_is_told_to_exactly_one_of_many_threads() {
        let streak = Streak::new();
        let mut told: Vec<u32> = std::thread::scope(|scope| {
            let hits = || (0..1_000).map(|_| streak.hit(Kind::GatewayError)).collect::<Vec<_>>();
            let threads = [(); 4].map(|()| scope.spawn(hits));
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        told.sort_unstable();
        assert_eq!(told, (1..=4_000).collect::<Vec<_>>());
    }
}
