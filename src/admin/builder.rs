//! What an admin service knows.

use std::{fmt, sync::Arc};

use crate::{
    admin::{Admin, Observe},
    health::Summary,
    server,
    serving::Drain,
    stats::Snapshot,
};

/// Collects what an [`Admin`] tells about.
#[must_use = "it answers nothing before `build`"]
pub struct Builder(Parts);

pub(super) struct Parts {
    pub(super) drain: Drain,
    clusters: Vec<(Arc<str>, Box<dyn Observe>)>,
    listeners: Vec<(Box<str>, server::Handle)>,
}

/// A cluster at one moment.
pub(super) struct Reading {
    pub(super) name: Arc<str>,
    pub(super) summary: Summary,
    pub(super) snapshot: Snapshot,
}

impl Builder {
    pub(super) fn new(drain: Drain) -> Self {
        Self(Parts { drain, clusters: Vec::new(), listeners: Vec::new() })
    }

    /// Tells about a cluster under this name; a second one of the name replaces the first. It is kept alive.
    pub fn cluster(mut self, name: impl Into<Arc<str>>, cluster: impl Observe) -> Self {
        let name = name.into();
        self.0.clusters.retain(|(other, _)| *other != name);
        self.0.clusters.push((name, Box::new(cluster)));
        self
    }

    /// Tells about a server under the address that it listens on; a second one of the address replaces the first.
    pub fn listener(mut self, address: impl Into<Box<str>>, server: server::Handle) -> Self {
        let address = address.into();
        self.0.listeners.retain(|(other, _)| *other != address);
        self.0.listeners.push((address, server));
        self
    }

    /// The service.
    #[must_use]
    pub fn build(self) -> Admin {
        Admin::new(self.0)
    }
}

impl Parts {
    pub(super) fn read(&self) -> Vec<Reading> {
        let read = |(name, cluster): &(Arc<str>, Box<dyn Observe>)| Reading {
            name: name.clone(),
            summary: cluster.summary(),
            snapshot: cluster.snapshot(),
        };
        self.clusters.iter().map(read).collect()
    }

    pub(super) fn listeners(&self) -> Vec<(&str, server::Stats)> {
        self.listeners.iter().map(|(address, server)| (&**address, server.stats())).collect()
    }

    /// Envoy's word for the state that the process is in.
    pub(super) fn state(&self) -> &'static str {
        if self.drain.is_started() {
            "DRAINING"
        } else if self.clusters.iter().all(|(_, cluster)| cluster.summary().is_resolved()) {
            LIVE
        } else {
            "PRE_INITIALIZING"
        }
    }
}

pub(super) const LIVE: &str = "LIVE";

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clusters.iter().map(|(name, _)| name)).finish()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Builder").field(&self.0).finish()
    }
}
