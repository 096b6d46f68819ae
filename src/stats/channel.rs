//! What became of a channel's calls and of its discovery.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use arc_swap::ArcSwapOption;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::{
    endpoint::EndpointSet,
    error::Error,
    grpc::Code,
    stats::{ChannelState, Failure, Outcomes, Snapshot, shards::Shards},
};

const CODES: usize = Code::ALL.len();
// What is counted beside the codes, in the same shards.
const QUEUED: usize = CODES;
const REPICKED: usize = CODES + 1;
const RETRIED: usize = CODES + 2;
const EXPIRED: usize = CODES + 3;
const PANICKED: usize = CODES + 4;
const COUNTERS: usize = CODES + 5;

/// The counters of a channel that belong to no endpoint.
///
/// A call that goes well costs one uncontended add here, at its end.
#[derive(Debug)]
pub struct ChannelStats {
    calls: Shards<COUNTERS>,
    waiting: AtomicU64,
    resolutions: AtomicU64,
    failed_resolutions: AtomicU64,
    /// Whether the latest resolution failed.
    stale: AtomicBool,
    confirmed: ArcSwapOption<Confirmed>,
    last_failure: ArcSwapOption<Failure>,
}

#[derive(Clone, Copy, Debug)]
struct Confirmed {
    generation: u64,
    endpoints: usize,
    at: Instant,
}

impl Default for ChannelStats {
    fn default() -> Self {
        Self {
            calls: Shards::new(),
            waiting: AtomicU64::new(0),
            resolutions: AtomicU64::new(0),
            failed_resolutions: AtomicU64::new(0),
            stale: AtomicBool::new(false),
            confirmed: ArcSwapOption::empty(),
            last_failure: ArcSwapOption::empty(),
        }
    }
}

impl ChannelStats {
    /// Counts a call that ended with this status, wherever it got it.
    pub fn ended(&self, code: Code) {
        self.calls.increment(code as usize);
    }

    /// How many calls wait for an endpoint now.
    #[must_use]
    pub fn waiting_calls(&self) -> u64 {
        self.waiting.load(Relaxed)
    }

    /// How many calls have ended, however they did.
    #[must_use]
    pub fn ended_calls(&self) -> u64 {
        self.calls.sum().iter().take(CODES).sum()
    }

    /// Counts a call that found nothing ready and waits, until the guard is dropped.
    #[must_use]
    pub fn wait(self: &Arc<Self>) -> Waiting {
        self.calls.increment(QUEUED);
        self.waiting.fetch_add(1, Relaxed);
        Waiting(self.clone())
    }

    /// Counts a call that was picked again because it had not left the process.
    pub fn repicked(&self) {
        self.calls.increment(REPICKED);
    }

    /// Counts a call that went elsewhere because a peer refused it unprocessed.
    pub fn retried(&self) {
        self.calls.increment(RETRIED);
    }

    /// Counts a call whose deadline passed here, rather than at the server.
    pub fn expired(&self) {
        self.calls.increment(EXPIRED);
    }

    /// Counts a panic: so few endpoints were healthy that health is ignored.
    pub fn panicked(&self) {
        self.calls.increment(PANICKED);
    }

    /// Notes what discovery said.
    pub fn resolved(&self, set: &EndpointSet) {
        self.resolutions.fetch_add(1, Relaxed);
        let (generation, endpoints) = (set.generation(), set.len());
        let confirmed = Confirmed { generation, endpoints, at: set.resolved_at() };
        let before = self.confirmed.swap(Some(Arc::new(confirmed)));
        let mended = self.stale.swap(false, Relaxed);
        if mended || before.is_none_or(|before| before.generation != generation) {
            info!(target: "grpc_balance::discover", endpoints, generation, "resolved");
        } else {
            debug!(target: "grpc_balance::discover", endpoints, generation, "resolved as before");
        }
    }

    /// Notes that discovery failed. The last set stays.
    pub fn resolution_failed(&self, error: &Error) {
        self.failed_resolutions.fetch_add(1, Relaxed);
        self.last_failure.store(Some(Arc::new(Failure { error: error.clone(), at: Instant::now() })));
        let cause = error.report();
        if self.stale.swap(true, Relaxed) {
            debug!(target: "grpc_balance::discover", %cause, "resolution still fails");
        } else {
            warn!(target: "grpc_balance::discover", %cause, "resolution failed, the last endpoints stay");
        }
    }

    /// The counters as plain data, with no endpoints yet.
    #[must_use]
    pub fn snapshot(&self, target: impl Into<Arc<str>>) -> Snapshot {
        let calls = self.calls.sum();
        let mut outcomes = Outcomes::default();
        for (sum, count) in outcomes.0.iter_mut().zip(&calls) {
            *sum = *count;
        }
        let [.., queued, repicked, retried, expired, panics] = calls;
        let confirmed = self.confirmed.load();
        Snapshot {
            target: target.into(),
            state: ChannelState::default(),
            outcomes,
            waiting: self.waiting.load(Relaxed),
            queued,
            repicked,
            retried,
            expired,
            panics,
            resolutions: self.resolutions.load(Relaxed),
            failed_resolutions: self.failed_resolutions.load(Relaxed),
            resolved: confirmed.as_ref().map(|confirmed| confirmed.endpoints),
            set_age: confirmed.as_ref().map(|confirmed| confirmed.at.elapsed()),
            last_resolution_failure: self.last_failure.load_full(),
            endpoints: Vec::new(),
        }
    }
}

/// A call that waits for an endpoint; see [`ChannelStats::wait`].
#[derive(Debug)]
pub struct Waiting(Arc<ChannelStats>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}
