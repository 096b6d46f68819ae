use std::sync::Arc;

use tokio::sync::watch;

use super::stats::{Counters, Stats};

/// How far a server has come.
///
/// ```text
///   serving ──drain──► lingering ──linger is over──► closing ──all closed, or grace is over──► ended
///      │                   │                            │                                        ▲
///      └───────────────────┴── abort, or a second drain ┴────────────────────────────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// Takes connections and requests.
    Serving,
    /// Still takes connections and requests, and should be seen not to be ready: health checks are to answer 503
    /// and NOT_SERVING, so that whoever is in front looks for another.
    Lingering,
    /// The listeners are closed; connections have been told to go (GOAWAY, `connection: close`) and finish their
    /// requests.
    Closing,
    /// Everything is closed.
    Ended,
}

/// Drains a server, tells how far it has come, and reads its counters. Cheap to clone; it keeps nothing alive.
///
/// ```
/// use grpc_balance::server::{Phase, Server};
///
/// let server = Server::bind("127.0.0.1:0");
/// let handle = server.handle();
/// let mut phases = handle.watch();
/// handle.drain();
/// assert_eq!(*phases.borrow_and_update(), Phase::Lingering);
/// ```
#[derive(Clone, Debug)]
pub struct Handle {
    phase: Arc<watch::Sender<Phase>>,
    counters: Arc<Counters>,
}

impl Handle {
    pub(super) fn new() -> Self {
        Self { phase: Arc::new(watch::Sender::new(Phase::Serving)), counters: Arc::default() }
    }

    /// Starts to drain: not ready, linger, GOAWAY and listeners closed, grace, end. Returns at once.
    ///
    /// A second call ends the server at once, as a second SIGTERM would.
    pub fn drain(&self) {
        self.phase.send_modify(|phase| {
            *phase = match phase {
                Phase::Serving => Phase::Lingering,
                _ => Phase::Ended,
            }
        });
    }

    /// Ends the server at once. Requests in flight are cut off.
    pub fn abort(&self) {
        self.phase.send_replace(Phase::Ended);
    }

    /// How far the server has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Whether it is on its way to the end, or there: readiness is to be denied.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.phase() > Phase::Serving
    }

    /// The phases as they change. The sender lives as long as a handle or the server does.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Waits until the server has come so far.
    pub async fn reached(&self, phase: Phase) {
        // The sender is ours, so this cannot fail.
        let _ = self.watch().wait_for(|now| *now >= phase).await;
    }

    /// The counters now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.counters.snapshot()
    }

    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Goes on to a phase, if it has not been reached.
    pub(super) fn advance(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let later = to > *phase;
            if later {
                *phase = to;
            }
            later
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_drain_ends_at_once_and_nothing_comes_back() {
        let handle = Handle::new();
        assert!(!handle.is_draining());
        handle.drain();
        assert_eq!((handle.phase(), handle.is_draining()), (Phase::Lingering, true));
        handle.advance(Phase::Closing);
        handle.advance(Phase::Lingering);
        assert_eq!(handle.phase(), Phase::Closing);
        handle.drain();
        assert_eq!(handle.phase(), Phase::Ended);
        handle.drain();
        assert_eq!(handle.phase(), Phase::Ended);
    }

    #[tokio::test]
    async fn an_abort_is_seen_by_who_waits() {
        let handle = Handle::new();
        let other = handle.clone();
        let waiting = tokio::spawn(async move { other.reached(Phase::Lingering).await });
        handle.abort();
        waiting.await.unwrap();
    }
}
