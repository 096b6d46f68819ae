//! What became of the calls, as a summary for people and as one JSON object for programs.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use grpc_balance::{Peer, endpoint::EndpointKey};
use serde::Serialize;
use tonic::{Response, Status};

/// Counts calls as they end.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    calls: u64,
    ok: u64,
    errors: BTreeMap<String, u64>,
    /// Microseconds.
    took: HashMap<EndpointKey, Vec<u32>>,
}

impl Tally {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call that succeeded.
    pub(crate) fn ok<T>(&self, response: &Response<T>, took: Duration) {
        let mut counts = self.counts();
        counts.calls += 1;
        counts.ok += 1;
        if let Some(peer) = response.extensions().get::<Peer>() {
            let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
            match counts.took.get_mut(peer.endpoint().key()) {
                Some(all) => all.push(took),
                None => drop(counts.took.insert(peer.endpoint().key().clone(), vec![took])),
            }
        }
    }

    /// Counts a call that failed, under a kind.
    pub(crate) fn error(&self, kind: String) {
        let mut counts = self.counts();
        counts.calls += 1;
        *counts.errors.entry(kind).or_default() += 1;
    }

    /// The summary.
    pub(crate) fn report(&self, events: Vec<Event>) -> Report {
        let counts = self.counts();
        let per_endpoint = counts.took.iter().map(|(key, took)| {
            let mut took = took.clone();
            took.sort_unstable();
            // `took` has an element: it is made with one.
            let p99 = took.get(took.len() * 99 / 100).or(took.last()).copied().unwrap_or_default();
            (key.to_string(), PerEndpoint { calls: took.len(), p99_ms: f64::from(p99) / 1e3 })
        });
        Report {
            calls: counts.calls,
            ok: counts.ok,
            errors: counts.errors.values().sum(),
            error_kinds: counts.errors.clone(),
            per_endpoint: per_endpoint.collect(),
            events,
        }
    }
}

/// The kind of a failed call: code, phase and endpoint where they are known.
pub(crate) fn kind(status: &Status) -> String {
    let Some(error) = grpc_balance::tonic::error_of(status) else {
        return format!("{:?} from the server", status.code());
    };
    match error.endpoint() {
        Some(endpoint) => format!("{} {} {endpoint}", error.code(), error.phase()),
        None => format!("{} {}", error.code(), error.phase()),
    }
}

/// Something that happened while calls were made.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Event {
    /// Since the first call.
    pub(crate) at_ms: u64,
    pub(crate) what: String,
    /// Which endpoints should get the calls from now on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) expected: Vec<String>,
    /// How long it took until exactly these did; absent if they never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) settled_ms: Option<u64>,
}

/// The summary of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) calls: u64,
    pub(crate) ok: u64,
    pub(crate) errors: u64,
    pub(crate) error_kinds: BTreeMap<String, u64>,
    pub(crate) per_endpoint: BTreeMap<String, PerEndpoint>,
    pub(crate) events: Vec<Event>,
}

#[derive(Debug, Serialize)]
pub(crate) struct PerEndpoint {
    pub(crate) calls: usize,
    pub(crate) p99_ms: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} calls, {} ok, {} failed", self.calls, self.ok, self.errors)?;
        for (kind, count) in &self.error_kinds {
            writeln!(f, "  {count} x {kind}")?;
        }
        for (endpoint, PerEndpoint { calls, p99_ms }) in &self.per_endpoint {
            writeln!(f, "  {endpoint:<24} {calls:>8} answered, p99 {p99_ms:.1} ms")?;
        }
        Ok(())
    }
}
