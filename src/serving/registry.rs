//! What is said of each service.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;

use crate::serving::{Clusters, Drain, Watch};

/// Whether a service should get calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// It should.
    Serving,
    /// It should not.
    NotServing,
    /// There is no such service.
    Unknown,
}

#[derive(Clone, Debug)]
pub(super) enum Entry {
    Set(Status),
    Follows(Clusters),
}

impl Entry {
    fn status(&self) -> Status {
        match self {
            Self::Set(status) => *status,
            Self::Follows(clusters) if clusters.is_met() => Status::Serving,
            Self::Follows(_) => Status::NotServing,
        }
    }
}

pub(super) type Entries = BTreeMap<Arc<str>, Entry>;

/// The status of this process's services by name. Cheap to clone; all clones are one registry.
///
/// `""` is the process as a whole, as `grpc.health.v1` has it. It is SERVING at first, as in gRPC's own health
/// servers; [`set`](Self::set) and [`follow`](Self::follow) change it like any other name. No name depends on another.
///
/// Once its [`Drain`] has started, every name is NOT_SERVING, and what is set afterwards has no effect.
#[derive(Clone, Debug)]
pub struct Registry {
    entries: Arc<watch::Sender<Entries>>,
    drain: Drain,
}

impl Registry {
    /// A registry that knows `""` only, with a switch of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::with_drain(Drain::new())
    }

    /// A registry whose `""` follows these clusters, with a switch of its own: for a process that is as healthy as what
    /// is behind it.
    #[must_use]
    pub fn following(whole: impl Into<Clusters>) -> Self {
        let registry = Self::new();
        registry.follow("", whole);
        registry
    }

    /// A registry that knows `""` only and drains by this switch.
    #[must_use]
    pub fn with_drain(drain: Drain) -> Self {
        let entries = Entries::from([("".into(), Entry::Set(Status::Serving))]);
        Self { entries: Arc::new(watch::Sender::new(entries)), drain }
    }

    /// Sets the status of a service, which no longer follows any cluster. [`Status::Unknown`] forgets it.
    pub fn set(&self, service: impl Into<Arc<str>>, status: Status) {
        self.put(service.into(), (status != Status::Unknown).then_some(Entry::Set(status)));
    }

    /// Makes the status of a service follow clusters: SERVING while the condition holds.
    ///
    /// A [`Health`](crate::health::Health) is such a condition: that one endpoint at least is healthy.
    pub fn follow(&self, service: impl Into<Arc<str>>, clusters: impl Into<Clusters>) {
        self.put(service.into(), Some(Entry::Follows(clusters.into())));
    }

    /// The status of a service now.
    #[must_use]
    pub fn status(&self, service: &str) -> Status {
        match self.entries.borrow().get(service) {
            None => Status::Unknown,
            Some(_) if self.drain.is_started() => Status::NotServing,
            Some(entry) => entry.status(),
        }
    }

    /// The status of every service now, by name.
    #[must_use]
    pub fn list(&self) -> BTreeMap<Arc<str>, Status> {
        let draining = self.drain.is_started();
        let status = |entry: &Entry| if draining { Status::NotServing } else { entry.status() };
        self.entries.borrow().iter().map(|(name, entry)| (name.clone(), status(entry))).collect()
    }

    /// Follows the status of a service, known or not.
    #[must_use]
    pub fn watch(&self, service: impl Into<Arc<str>>) -> Watch {
        Watch::new(self.clone(), service.into())
    }

    /// The switch that turns everything to NOT_SERVING.
    #[must_use]
    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// The clusters that a service follows.
    pub(crate) fn clusters(&self, service: &str) -> Option<Clusters> {
        match self.entries.borrow().get(service) {
            Some(Entry::Follows(clusters)) => Some(clusters.clone()),
            _ => None,
        }
    }

    pub(super) fn entries(&self) -> watch::Receiver<Entries> {
        self.entries.subscribe()
    }

    fn put(&self, service: Arc<str>, entry: Option<Entry>) {
        if self.drain.is_started() {
            return;
        }
        self.entries.send_if_modified(|entries| match entry {
            Some(entry) => {
                entries.insert(service, entry);
                true
            }
            None => entries.remove(&service).is_some(),
        });
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}
