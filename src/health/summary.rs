//! The health of a cluster as a whole.

use std::sync::Arc;

use tokio::sync::watch;

use crate::endpoint::Endpoint;

/// How the endpoints of one cluster are at one moment.
///
/// An endpoint is *healthy* when its latest verdict passes (or nothing probes it), it is not ejected, and a connection
/// to it is ready.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    resolved: bool,
    total: usize,
    awaiting: usize,
    healthy: usize,
    ready: usize,
    ejected: usize,
    draining: usize,
    panic: bool,
    over: bool,
    unfit: Vec<(Arc<Endpoint>, Arc<str>)>,
}

impl Summary {
    /// How many unfit endpoints a summary names at most.
    pub(crate) const NAMED: usize = 16;

    /// A cluster that resolved to this many endpoints, of which nothing more is known.
    #[must_use]
    pub fn of(total: usize) -> Self {
        Self { resolved: true, total, ..Self::default() }
    }

    /// Sets how many endpoints await their first verdict.
    #[must_use]
    pub fn awaiting(mut self, awaiting: usize) -> Self {
        self.awaiting = awaiting;
        self
    }

    /// Sets how many endpoints are healthy.
    #[must_use]
    pub fn healthy(mut self, healthy: usize) -> Self {
        self.healthy = healthy;
        self
    }

    /// Sets how many endpoints have a connection that is ready, healthy or not.
    #[must_use]
    pub fn ready(mut self, ready: usize) -> Self {
        self.ready = ready;
        self
    }

    /// Sets how many endpoints are ejected.
    #[must_use]
    pub fn ejected(mut self, ejected: usize) -> Self {
        self.ejected = ejected;
        self
    }

    /// Sets how many endpoints were removed and still finish streams.
    #[must_use]
    pub fn draining(mut self, draining: usize) -> Self {
        self.draining = draining;
        self
    }

    /// Sets whether so few endpoints are healthy that health is ignored.
    #[must_use]
    pub fn in_panic(mut self, panic: bool) -> Self {
        self.panic = panic;
        self
    }

    /// Marks the cluster as ended: nothing of it will be healthy again.
    #[must_use]
    pub fn ended(mut self) -> Self {
        self.over = true;
        self.healthy = 0;
        self
    }

    /// Names an endpoint that is not fit, and why. Only the first 16 are kept.
    #[must_use]
    pub fn unfit(mut self, endpoint: Arc<Endpoint>, cause: impl Into<Arc<str>>) -> Self {
        if self.unfit.len() < Self::NAMED {
            self.unfit.push((endpoint, cause.into()));
        }
        self
    }

    /// Whether the first resolution has come.
    #[must_use]
    pub fn is_resolved(&self) -> bool {
        self.resolved
    }

    /// How many endpoints there are, by the latest good resolution.
    #[must_use]
    pub fn total_count(&self) -> usize {
        self.total
    }

    /// How many endpoints await their first verdict.
    #[must_use]
    pub fn awaiting_count(&self) -> usize {
        self.awaiting
    }

    /// How many endpoints are healthy.
    #[must_use]
    pub fn healthy_count(&self) -> usize {
        self.healthy
    }

    /// How many endpoints have a connection that is ready, healthy or not.
    #[must_use]
    pub fn ready_count(&self) -> usize {
        self.ready
    }

    /// How many endpoints are ejected.
    #[must_use]
    pub fn ejected_count(&self) -> usize {
        self.ejected
    }

    /// How many endpoints were removed and still finish streams.
    #[must_use]
    pub fn draining_count(&self) -> usize {
        self.draining
    }

    /// Whether so few endpoints are healthy that health is ignored (Envoy's panic mode).
    #[must_use]
    pub fn is_in_panic(&self) -> bool {
        self.panic
    }

    /// Whether the cluster has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Endpoints that are not fit, and why: 16 of them at most.
    #[must_use]
    pub fn unfit_endpoints(&self) -> &[(Arc<Endpoint>, Arc<str>)] {
        &self.unfit
    }
}

/// A handle on the health of one cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Health {
    name: Arc<str>,
    summary: watch::Receiver<Summary>,
}

/// Tells a [`Health`] what it shows.
#[derive(Debug)]
pub struct Reporter(watch::Sender<Summary>);

impl Health {
    /// A handle on the health of the cluster of this name, unresolved at first, and what feeds it.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> (Reporter, Self) {
        let (reporter, summary) = watch::channel(Summary::default());
        (Reporter(reporter), Self { name: name.into(), summary })
    }

    /// The same under another name.
    #[must_use]
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// The cluster's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How the endpoints are now.
    #[must_use]
    pub fn now(&self) -> Summary {
        self.summary.borrow().clone()
    }

    /// The health as it changes. The channel closes when the cluster has ended.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Summary> {
        self.summary.clone()
    }
}

impl Reporter {
    /// Tells how the endpoints are now. Watchers wake only when it differs from before.
    pub fn report(&self, summary: Summary) {
        self.0.send_if_modified(|current| {
            let differs = *current != summary;
            *current = summary;
            differs
        });
    }
}

impl Drop for Reporter {
    /// What nobody reports on any more is not healthy.
    fn drop(&mut self) {
        let last = self.0.borrow().clone();
        self.report(last.ended());
    }
}
