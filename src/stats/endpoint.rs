//! What became of one endpoint's connections and calls.

use std::{
    array,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwapOption;
use tokio::time::Instant;
use tracing::{debug, info};

use crate::{
    endpoint::Endpoint,
    error::Error,
    load::Latencies,
    stats::{Disconnects, EndpointSnapshot, EndpointState, Failure},
};

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Disconnect {
    /// The peer said GOAWAY.
    GoAway,
    /// The peer closed it.
    Closed,
    /// The peer no longer answered: a keepalive ping, or TCP itself, timed out.
    Keepalive,
    /// The connection was reset, or broke the protocol.
    Reset,
    /// The endpoint left the resolved set, or the policy no longer asked for it.
    Removed,
    /// The channel was dropped.
    Shutdown,
}

impl Disconnect {
    /// Every reason, in the order of their counters.
    pub const ALL: [Self; 6] =
        [Self::GoAway, Self::Closed, Self::Keepalive, Self::Reset, Self::Removed, Self::Shutdown];

    /// The reason in lower case, as it stands in tables and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GoAway => "goaway",
            Self::Closed => "closed",
            Self::Keepalive => "keepalive",
            Self::Reset => "reset",
            Self::Removed => "removed",
            Self::Shutdown => "shutdown",
        }
    }
}

/// The counters of one endpoint.
///
/// The control plane writes them. Calls are counted where the [load](crate::load::Load) is.
#[derive(Debug)]
pub struct EndpointStats {
    state: AtomicU8,
    connects: AtomicU64,
    connect_failures: AtomicU64,
    disconnects: [AtomicU64; Disconnect::ALL.len()],
    ejections: AtomicU64,
    last_failure: ArcSwapOption<Failure>,
}

impl Default for EndpointStats {
    fn default() -> Self {
        Self {
            state: AtomicU8::new(EndpointState::Idle as u8),
            connects: AtomicU64::new(0),
            connect_failures: AtomicU64::new(0),
            disconnects: array::from_fn(|_| AtomicU64::new(0)),
            ejections: AtomicU64::new(0),
            last_failure: ArcSwapOption::empty(),
        }
    }
}

impl EndpointStats {
    /// Notes the state, and tells it as an event if it is another one.
    ///
    /// For the control task of the endpoint; two callers at once would tell a state twice.
    pub fn set_state(&self, endpoint: &Endpoint, state: EndpointState, cause: Option<&Error>) {
        let from = EndpointState::from_number(self.state.swap(state as u8, Relaxed));
        if from == state {
            return;
        }
        let cause = cause.map(|cause| tracing::field::display(cause.report()));
        info!(target: "grpc_balance::endpoint", %endpoint, %from, to = %state, cause, "endpoint changed state");
    }

    /// The latest state.
    #[must_use]
    pub fn state(&self) -> EndpointState {
        EndpointState::from_number(self.state.load(Relaxed))
    }

    /// Counts a connection that was established.
    pub fn connected(&self) {
        self.connects.fetch_add(1, Relaxed);
    }

    /// Counts a connection attempt that failed. One that was given up counts as neither (gRFC A94).
    pub fn connect_failed(&self, endpoint: &Endpoint, error: &Error) {
        self.connect_failures.fetch_add(1, Relaxed);
        self.failed(error);
        debug!(target: "grpc_balance::endpoint", %endpoint, cause = %error.report(), "connection attempt failed");
    }

    /// Counts a connection that ended, with the first reason that it had to.
    pub fn disconnected(&self, endpoint: &Endpoint, reason: Disconnect, cause: Option<&Error>) {
        if let Some(counter) = self.disconnects.get(reason as usize) {
            counter.fetch_add(1, Relaxed);
        }
        if let Some(error) = cause {
            self.failed(error);
        }
        let cause = cause.map(|cause| tracing::field::display(cause.report()));
        debug!(target: "grpc_balance::endpoint", %endpoint, reason = reason.as_str(), cause, "disconnected");
    }

    /// Counts an ejection as an outlier.
    pub fn ejected(&self) {
        self.ejections.fetch_add(1, Relaxed);
    }

    /// The latest failure of a connection.
    #[must_use]
    pub fn last_failure(&self) -> Option<Arc<Failure>> {
        self.last_failure.load_full()
    }

    /// The counters as plain data. Whoever counts the calls fills in theirs, and whoever judges how it stands.
    #[must_use]
    pub fn snapshot(&self, endpoint: &Arc<Endpoint>) -> EndpointSnapshot {
        EndpointSnapshot {
            weight: endpoint.weight(),
            endpoint: endpoint.clone(),
            state: self.state(),
            in_flight: 0,
            started: 0,
            succeeded: 0,
            failed: 0,
            cancelled: 0,
            refused: 0,
            connects: self.connects.load(Relaxed),
            connect_failures: self.connect_failures.load(Relaxed),
            disconnects: Disconnects(self.disconnects.each_ref().map(|counter| counter.load(Relaxed))),
            ejections: self.ejections.load(Relaxed),
            awaiting: false,
            failing: false,
            ejected: false,
            latencies: Latencies::default(),
            last_failure: self.last_failure(),
        }
    }

    fn failed(&self, error: &Error) {
        self.last_failure.store(Some(Arc::new(Failure { error: error.clone(), at: Instant::now() })));
    }
}
