//! When to ask next.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{discover::dns::DnsConfig, random::Random};

/// Decides when the next resolution is due: by TTL after a success, by backoff after a failure, ahead of both when a
/// refresh is asked for and the budget allows it.
#[derive(Debug)]
pub(super) struct Schedule {
    min_interval: Duration,
    max_interval: Duration,
    jitter: f64,
    min_backoff: Duration,
    max_backoff: Duration,
    backoff: Duration,
    random: Arc<Random>,
    due: Instant,
    refresh: Refresh,
}

/// A token bucket told by one instant (the generic cell rate algorithm): when it will be full again.
#[derive(Debug)]
struct Refresh {
    wanted: bool,
    burst: u32,
    interval: Duration,
    full_at: Instant,
}

const MULTIPLIER: f64 = 1.6;
const SPREAD: f64 = 0.2;

impl Schedule {
    /// The first resolution is due now.
    pub(super) fn new(config: &DnsConfig, now: Instant) -> Self {
        Self {
            min_interval: config.min_interval,
            max_interval: config.max_interval.max(config.min_interval),
            jitter: config.jitter,
            min_backoff: config.min_backoff,
            max_backoff: config.max_backoff,
            backoff: config.min_backoff,
            random: config.random.clone(),
            due: now,
            refresh: Refresh {
                wanted: false,
                burst: config.refresh_burst,
                interval: config.refresh_interval,
                full_at: now,
            },
        }
    }

    /// When the next resolution should start.
    pub(super) fn due(&self) -> Instant {
        match self.refresh.at() {
            Some(at) => self.due.min(at),
            None => self.due,
        }
    }

    /// A resolution starts. It serves every refresh wanted so far, at the budget's cost if it is ahead of time.
    pub(super) fn started(&mut self, now: Instant) {
        if now < self.due && self.refresh.wanted {
            self.refresh.spend(now);
        }
        self.refresh.wanted = false;
    }

    /// Asks for a resolution as soon as the budget allows; any number of requests are one.
    pub(super) fn refresh(&mut self) {
        self.refresh.wanted = true;
    }

    /// Records were found that are valid for `ttl`.
    pub(super) fn succeeded(&mut self, now: Instant, ttl: Duration) {
        self.backoff = self.min_backoff;
        self.due = self.expiry(now, ttl);
    }

    /// Records were found that are valid for `ttl`, but some question was not answered.
    pub(super) fn partly_failed(&mut self, now: Instant, ttl: Duration) {
        self.failed(now);
        let expiry = self.expiry(now, ttl);
        self.no_later_than(expiry);
    }

    fn expiry(&self, now: Instant, ttl: Duration) -> Instant {
        let interval = ttl.clamp(self.min_interval, self.max_interval);
        later(now, scaled(interval, 1.0 + self.jitter * self.random.unit()))
    }

    /// Nothing was found.
    pub(super) fn failed(&mut self, now: Instant) {
        let spread = 1.0 + SPREAD * (2.0 * self.random.unit() - 1.0);
        self.due = later(now, scaled(self.backoff, spread));
        self.backoff = scaled(self.backoff, MULTIPLIER).min(self.max_backoff);
    }

    /// Moves the next resolution forward.
    pub(super) fn no_later_than(&mut self, at: Instant) {
        self.due = self.due.min(at);
    }
}

impl Refresh {
    fn at(&self) -> Option<Instant> {
        if !self.wanted || self.burst == 0 {
            return None;
        }
        let ahead = self.interval.saturating_mul(self.burst - 1);
        // An instant before the clock's beginning is in the past in any case.
        Some(self.full_at.checked_sub(ahead).unwrap_or(self.full_at))
    }

    fn spend(&mut self, now: Instant) {
        self.full_at = later(self.full_at.max(now), self.interval);
    }
}

/// `now + delay`; a delay beyond what the clock can tell is a century.
pub(super) fn later(now: Instant, delay: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    now.checked_add(delay.min(CENTURY)).unwrap_or(now)
}

fn scaled(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}
