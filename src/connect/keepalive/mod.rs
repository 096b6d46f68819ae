//! Finding dead peers without annoying live ones.
//!
//! A peer that was stopped, or cut off without a FIN, looks like a peer that is thinking. The usual answer is a PING
//! at fixed intervals, and gRPC servers close connections that ping too often (`too_many_pings`, gRFC A8: more than
//! two pings without data in between within 5 min). So a connection is pinged *on suspicion* only:
//!
//! - while a call is open and nothing was read for 10 s; 5 s later without a byte, the peer is dead;
//! - at most twice in a quiet period, which ends when the peer sends headers or data (that also resets the server's
//!   strike counter), then once every 5 min;
//! - before an idle connection is used again after 60 s of silence, beside the call, which does not wait.
//!
//! ```
//! use std::time::Duration;
//!
//! use grpc_balance::connect::Keepalive;
//!
//! let eager = Keepalive::on_suspicion().after_silence(Duration::from_secs(3));
//! assert_ne!(eager, Keepalive::default());
//! ```

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::Instant;

/// When a connection is pinged, and when its peer counts as dead. See the [module documentation](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keepalive {
    enabled: bool,
    silence: Duration,
    timeout: Duration,
    burst: u32,
    spacing: Duration,
    idle: Duration,
}

/// No interval is shorter, so that no setting makes a connection spin.
const FLOOR: Duration = Duration::from_millis(100);

impl Keepalive {
    /// Pings on suspicion; the default.
    #[must_use]
    pub fn on_suspicion() -> Self {
        Self {
            enabled: true,
            silence: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            burst: 2,
            // Servers measure their 5 min on arrival, so jitter must not make ours shorter.
            spacing: Duration::from_secs(5 * 60 + 10),
            idle: Duration::from_secs(60),
        }
    }

    /// Never pings: the kernel's TCP_USER_TIMEOUT and TCP keepalive are all there is.
    #[must_use]
    pub fn off() -> Self {
        Self { enabled: false, ..Self::on_suspicion() }
    }

    /// How long nothing must have been read, while a call is open, before the peer is pinged. Default 10 s, which is
    /// the floor of gRFC A8. Less than 100 ms counts as 100 ms.
    #[must_use]
    pub fn after_silence(mut self, silence: Duration) -> Self {
        self.silence = silence.max(FLOOR);
        self
    }

    /// How long after a ping the peer may stay silent before it counts as dead. Default 5 s (gRFC A8 has 20 s; our
    /// ping comes only after a silence, and any byte counts as an answer). Less than 100 ms counts as 100 ms.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.max(FLOOR);
        self
    }

    /// How often a peer is pinged in one quiet period before [`spacing`](Self::spacing) applies. Default 2, which is
    /// what gRPC servers forgive.
    #[must_use]
    pub fn burst(mut self, pings: u32) -> Self {
        self.burst = pings;
        self
    }

    /// The time between pings once the burst of a quiet period is used up. Default 5 min and 10 s: gRPC servers
    /// tolerate a ping every 5 min (gRFC A8). Less than 100 ms counts as 100 ms.
    #[must_use]
    pub fn spacing(mut self, spacing: Duration) -> Self {
        self.spacing = spacing.max(FLOOR);
        self
    }

    /// How long an idle connection must have been silent to be pinged as its next call starts. Default 60 s.
    #[must_use]
    pub fn before_reuse_after(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// The same with silence and spacing doubled: what gRFC A8 asks for after a GOAWAY with `too_many_pings`.
    #[must_use]
    pub fn doubled(mut self) -> Self {
        self.silence = self.silence.saturating_mul(2);
        self.spacing = self.spacing.saturating_mul(2);
        self
    }
}

impl Default for Keepalive {
    fn default() -> Self {
        Self::on_suspicion()
    }
}

/// What is known of the connection at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observation {
    pub(crate) now: Instant,
    /// When something was last read.
    pub(crate) last_read: Instant,
    /// Goes up with everything that is read.
    pub(crate) reads: u64,
    /// Whether a call is open.
    pub(crate) busy: bool,
    /// Whether the peer sent headers or data since the last observation.
    pub(crate) progressed: bool,
}

/// What follows from an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing, until the connection becomes busy.
    Rest,
    /// Observe again then.
    Wait(Instant),
    /// Ping now, and observe again then.
    Ping(Instant),
    /// The peer is dead.
    GiveUp,
}

/// The state machine: it reads no clock and does no I/O.
#[derive(Debug)]
pub(crate) struct Monitor {
    config: Keepalive,
    /// Since when a call has been open all the time.
    busy_since: Option<Instant>,
    /// A ping that nothing was read after: when it was sent, and the reads until then.
    unanswered: Option<(Instant, u64)>,
    last_ping: Option<Instant>,
    /// Pings since the peer last sent headers or data.
    pings: u32,
}

impl Monitor {
    pub(crate) fn new(config: Keepalive) -> Self {
        Self { config, busy_since: None, unanswered: None, last_ping: None, pings: 0 }
    }

    pub(crate) fn observe(&mut self, seen: Observation) -> Action {
        if !self.config.enabled {
            return Action::Rest;
        }
        if seen.progressed {
            self.pings = 0;
        }
        if let Some((sent, reads)) = self.unanswered {
            match sent.checked_add(self.config.timeout) {
                _ if seen.reads != reads => self.unanswered = None,
                Some(deadline) if seen.now >= deadline => return Action::GiveUp,
                Some(deadline) => {
                    self.note_busy(seen);
                    return Action::Wait(deadline);
                }
                None => {}
            }
        }
        let was_idle = self.note_busy(seen);
        let Some(busy_since) = self.busy_since else { return Action::Rest };

        let quiet_for = seen.now.saturating_duration_since(seen.last_read);
        let suspicious = if was_idle && quiet_for >= self.config.idle {
            Some(seen.now)
        } else {
            seen.last_read.max(busy_since).checked_add(self.config.silence)
        };
        let allowed = match self.last_ping {
            Some(last) if self.pings >= self.config.burst => last.checked_add(self.config.spacing),
            _ => Some(seen.now),
        };
        // A time beyond the clock's end never comes.
        let (Some(suspicious), Some(allowed)) = (suspicious, allowed) else { return Action::Rest };
        let due = suspicious.max(allowed);
        if seen.now >= due {
            self.pings = self.pings.saturating_add(1);
            self.last_ping = Some(seen.now);
            self.unanswered = Some((seen.now, seen.reads));
            return self.later(seen.now, self.config.timeout).map_or(Action::Rest, Action::Ping);
        }
        // A long spacing may end early, with the quiet period: look once per silence.
        self.later(seen.now, self.config.silence)
            .map_or(Action::Wait(due), |soon| Action::Wait(due.min(soon)))
    }

    /// Says whether the connection has just become busy.
    fn note_busy(&mut self, seen: Observation) -> bool {
        match (seen.busy, self.busy_since) {
            (true, None) => {
                self.busy_since = Some(seen.now);
                true
            }
            (true, Some(_)) => false,
            (false, _) => {
                self.busy_since = None;
                false
            }
        }
    }

    fn later(&self, now: Instant, delay: Duration) -> Option<Instant> {
        now.checked_add(delay)
    }
}
