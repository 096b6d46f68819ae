//! A cluster on several runtimes.

use std::sync::{Mutex, PoisonError};

use super::upstream::Upstream;
use crate::{
    channel::Built,
    connect::{Connector, Worker, http1::Http1Connector},
    error::Error,
    stats::Snapshot,
};

/// What finds and probes the endpoints, and the balancers that follow it.
pub(super) struct Workers {
    control: Control,
    following: Mutex<Vec<Upstream>>,
}

pub(super) enum Control {
    Http1(Built<Http1Connector>),
    Http2(Built<Connector>),
}

impl Workers {
    pub(super) fn new(control: Control) -> Self {
        Self { control, following: Mutex::default() }
    }

    /// The balancer that the cluster was built with.
    pub(super) fn own(&self) -> Upstream {
        match &self.control {
            Control::Http1(built) => Upstream::Http1(built.balance.clone()),
            Control::Http2(built) => Upstream::Http2(built.balance.clone()),
        }
    }

    /// One with its connections on this worker.
    pub(super) fn on(&self, worker: &Worker) -> Result<Upstream, Error> {
        let upstream = match &self.control {
            Control::Http1(built) => {
                Upstream::Http1(built.another(built.connector.on(worker.clone()), worker.clone())?)
            }
            Control::Http2(built) => {
                Upstream::Http2(built.another(built.connector.on(worker.clone()), worker.clone())?)
            }
        };
        self.following.lock().unwrap_or_else(PoisonError::into_inner).push(upstream.clone());
        Ok(upstream)
    }

    /// What all of them have counted.
    pub(super) fn stats(&self) -> Snapshot {
        let mut all = self.own().stats();
        for upstream in &*self.following.lock().unwrap_or_else(PoisonError::into_inner) {
            all.add_calls(&upstream.stats());
        }
        all
    }
}
