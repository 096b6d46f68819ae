use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bounds how many dials are in flight at once.
///
/// When thousands of endpoints arrive in one answer, dialling all of them in one instant overruns listen queues and
/// the local CPU (every TLS handshake costs about a millisecond), so that many attempts time out that would succeed a
/// moment later. Clones share the limit; waiters are served in order.
///
/// ```
/// use grpc_balance::connect::dial::DialLimit;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let limit = DialLimit::default();
/// assert_eq!(limit.available(), 64);
/// let permit = limit.acquire().await;
/// assert_eq!(limit.available(), 63);
/// drop(permit); // when the attempt is over, however it ended
/// assert_eq!(limit.available(), 64);
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct DialLimit(Arc<Semaphore>);

/// The right to one dial; dropping it gives it back.
#[derive(Debug)]
pub struct DialPermit {
    // `None` would mean a closed semaphore, and nothing closes ours.
    _permit: Option<OwnedSemaphorePermit>,
}

impl DialLimit {
    /// At most `max` dials at once, and at least one. Default 64.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Semaphore::new(max.clamp(1, Semaphore::MAX_PERMITS))))
    }

    /// Waits for its turn. Dropping the future gives up the place in the queue.
    pub async fn acquire(&self) -> DialPermit {
        DialPermit { _permit: self.0.clone().acquire_owned().await.ok() }
    }

    /// How many dials could start now.
    #[must_use]
    pub fn available(&self) -> usize {
        self.0.available_permits()
    }
}

impl Default for DialLimit {
    fn default() -> Self {
        Self::new(64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_sixty_fifth_dial_waits_for_one_to_end() {
        let limit = DialLimit::default();
        let mut permits = Vec::new();
        for _ in 0..64 {
            permits.push(limit.acquire().await);
        }
        let mut waiting = tokio_test::task::spawn(limit.acquire());
        assert!(waiting.poll().is_pending());
        permits.pop();
        assert!(waiting.is_woken());
        assert!(waiting.poll().is_ready());
    }

    #[test]
    fn a_limit_of_zero_still_lets_one_through() {
        assert_eq!(DialLimit::new(0).available(), 1);
    }

    #[test]
    fn a_limit_beyond_the_semaphores_own_does_not_panic() {
        assert!(DialLimit::new(usize::MAX).available() > 1_000_000);
    }
}
