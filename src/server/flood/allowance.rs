use tokio::time::Instant;

/// A number that is spent, earned, and refilled by time, up to a limit.
#[derive(Debug)]
pub(super) struct Allowance {
    limit: u64,
    left: u64,
    /// The part of the limit that comes back each second: one divided by this.
    seconds: u64,
    refilled: Instant,
}

impl Allowance {
    /// A full allowance, which time refills from nothing in this many seconds.
    pub(super) fn new(limit: u64, seconds: u64, now: Instant) -> Self {
        Self { limit, left: limit, seconds, refilled: now }
    }

    pub(super) fn earn(&mut self, amount: u64) {
        self.left = self.left.saturating_add(amount).min(self.limit);
    }

    /// Says whether there was enough. The clock is asked only where there seems not to be.
    pub(super) fn pay(&mut self, amount: u64) -> bool {
        if self.left < amount {
            self.refill();
        }
        match self.left.checked_sub(amount) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    fn refill(&mut self) {
        let now = Instant::now();
        let millis =
            u64::try_from(now.saturating_duration_since(self.refilled).as_millis()).unwrap_or(u64::MAX);
        let amount = self.limit.saturating_mul(millis) / self.seconds.saturating_mul(1_000).max(1);
        // Time that was too short for a whole unit goes on counting.
        if amount > 0 {
            self.refilled = now;
            self.earn(amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_spent_earned_and_refilled_up_to_its_limit() {
        let mut allowance = Allowance::new(100, 10, Instant::now());
        assert!(allowance.pay(100) && !allowance.pay(1));
        allowance.earn(5);
        assert!(allowance.pay(5) && !allowance.pay(1));
        advance(Duration::from_secs(1)).await;
        assert!(allowance.pay(10) && !allowance.pay(1), "a tenth each second");
        for _ in 0..4 {
            advance(Duration::from_millis(25)).await;
            let _ = allowance.pay(2);
        }
        assert!(allowance.pay(1) && !allowance.pay(1), "moments add up");
        advance(Duration::from_secs(1_000_000_000)).await;
        assert!(allowance.pay(100) && !allowance.pay(1));
    }
}
