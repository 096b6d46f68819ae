//! The counters at one moment, as plain data.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    endpoint::Endpoint,
    error::Error,
    grpc::Code,
    load::Latencies,
    stats::{ChannelState, Disconnect, EndpointState},
};

/// A channel at one moment. Its [`Display`](std::fmt::Display) is a table with a line for each endpoint.
///
/// The counters are read one after the other while calls go on: they may disagree by the calls of a microsecond.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// What the channel was built for.
    pub target: Arc<str>,
    /// What a call can expect.
    pub state: ChannelState,
    /// How calls ended, by status, those that never found an endpoint included.
    pub outcomes: Outcomes,
    /// Calls that wait for an endpoint now.
    pub waiting: u64,
    /// Calls that had to wait for an endpoint.
    pub queued: u64,
    /// Picks that were repeated because the call had not left the process.
    pub repicked: u64,
    /// Calls sent elsewhere because a peer refused them unprocessed.
    pub retried: u64,
    /// Calls whose deadline passed here, rather than at the server.
    pub expired: u64,
    /// How often so few endpoints were healthy that health was ignored.
    pub panics: u64,
    /// Answers from discovery.
    pub resolutions: u64,
    /// Failures of discovery.
    pub failed_resolutions: u64,
    /// How many endpoints the latest answer had; `None` before the first.
    pub resolved: Option<usize>,
    /// How long ago discovery last confirmed the endpoints; `None` before the first answer.
    pub set_age: Option<Duration>,
    /// The latest failure of discovery.
    pub last_resolution_failure: Option<Arc<Failure>>,
    /// The endpoints in the order of the resolved set, then those that drain.
    pub endpoints: Vec<EndpointSnapshot>,
}

impl Snapshot {
    /// Adds what another balancer over the same endpoints has counted of its calls.
    #[cfg(feature = "proxy")]
    pub(crate) fn add_calls(&mut self, other: &Self) {
        for (sum, count) in self.outcomes.0.iter_mut().zip(other.outcomes.0) {
            *sum += count;
        }
        self.waiting += other.waiting;
        self.queued += other.queued;
        self.repicked += other.repicked;
        self.retried += other.retried;
        self.expired += other.expired;
        self.panics += other.panics;
        for other in &other.endpoints {
            let same = |mine: &&mut EndpointSnapshot| mine.endpoint.key() == other.endpoint.key();
            match self.endpoints.iter_mut().find(same) {
                Some(mine) => mine.add_calls(other),
                None => self.endpoints.push(other.clone()),
            }
        }
    }
}

#[cfg(feature = "proxy")]
impl EndpointSnapshot {
    fn add_calls(&mut self, other: &Self) {
        self.in_flight += other.in_flight;
        self.started += other.started;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.refused += other.refused;
        self.connects += other.connects;
        self.connect_failures += other.connect_failures;
        self.ejections += other.ejections;
        for (sum, count) in self.disconnects.0.iter_mut().zip(other.disconnects.0) {
            *sum += count;
        }
        self.latencies = self.latencies.merge(&other.latencies);
    }
}

/// An endpoint at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndpointSnapshot {
    /// Who it is: addresses, locality, host name.
    pub endpoint: Arc<Endpoint>,
    /// Where its connection is.
    pub state: EndpointState,
    /// Its share of calls relative to the others.
    pub weight: u32,
    /// Calls that were picked and whose stream has not ended.
    pub in_flight: u64,
    /// Calls that were picked.
    pub started: u64,
    /// Calls that ended well, by the classifier.
    pub succeeded: u64,
    /// Calls that failed in a way that speaks of the endpoint.
    pub failed: u64,
    /// Calls given up before the endpoint had its say.
    pub cancelled: u64,
    /// Streams that it refused without having processed them.
    pub refused: u64,
    /// Connections established.
    pub connects: u64,
    /// Connection attempts that failed.
    pub connect_failures: u64,
    /// Connections that ended, by reason.
    pub disconnects: Disconnects,
    /// How often it was ejected as an outlier.
    pub ejections: u64,
    /// Whether it awaits its first verdict and gets no calls before.
    pub awaiting: bool,
    /// Whether its latest verdict fails.
    pub failing: bool,
    /// Whether it is ejected as an outlier now.
    pub ejected: bool,
    /// How long calls took.
    pub latencies: Latencies,
    /// The latest failure of a connection.
    pub last_failure: Option<Arc<Failure>>,
}

/// An error, and when it happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// What happened.
    pub error: Error,
    /// When.
    pub at: Instant,
}

/// How many calls ended with which status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes(pub(super) [u64; Code::ALL.len()]);

impl Outcomes {
    /// Calls that ended with this status.
    #[must_use]
    pub fn get(&self, code: Code) -> u64 {
        self.0.get(code as usize).copied().unwrap_or(0)
    }

    /// Every status that a call ended with, and how many did.
    pub fn iter(&self) -> impl Iterator<Item = (Code, u64)> + '_ {
        Code::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }

    /// Calls that ended.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// How many connections ended, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disconnects(pub(super) [u64; Disconnect::ALL.len()]);

impl Disconnects {
    /// Connections that ended for this reason.
    #[must_use]
    pub fn get(&self, reason: Disconnect) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or(0)
    }

    /// Every reason that a connection ended for, and how many did.
    pub fn iter(&self) -> impl Iterator<Item = (Disconnect, u64)> + '_ {
        Disconnect::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }

    /// Connections that ended.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}
