//! What handles, calls and the control task have in common.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot, watch},
};

#[cfg(feature = "proxy")]
use crate::balance::follow;
use crate::{
    balance::{
        ejection::Watcher, plane::Plane, published::Published, snapshot::Snapshot, state::Connectivity,
    },
    connect::{Connect, Room},
    discover::Status,
    grpc::Classify,
    health::Health,
    load::SetLoad,
    metrics::Mirror,
    random::Random,
    stats::{self, ChannelStats},
};

/// What the control task and the calls share.
pub(crate) struct Shared<C: Connect> {
    pub(crate) target: Arc<str>,
    pub(crate) published: Published<Snapshot<C::Connection>>,
    /// Locked by the control task and by statistics, never by a call and never across an `.await`.
    pub(crate) plane: Mutex<Plane<C::Connection>>,
    pub(crate) room: Arc<Room>,
    /// Told when a call found every connection full.
    pub(crate) demand: Notify,
    pub(crate) random: Arc<Random>,
    pub(crate) set_load: Arc<SetLoad>,
    pub(crate) stats: Arc<ChannelStats>,
    /// How resolving goes, if the resolver tells.
    pub(crate) discovery: Option<Status>,
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) connectivity: watch::Sender<Connectivity>,
    pub(crate) health: Health,
    /// What was found, for balancers that follow this one.
    #[cfg(feature = "proxy")]
    pub(crate) found: watch::Sender<follow::Found>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) wait_for_ready: bool,
    /// Whether an endpoint may have more than one connection.
    pub(crate) may_grow: bool,
    /// The worker's.
    pub(crate) runtime: Handle,
}

impl<C: Connect> Shared<C> {
    pub(crate) fn plane(&self) -> MutexGuard<'_, Plane<C::Connection>> {
        // Nothing panics while holding the lock; were it to, a torn view of statistics beats a second panic.
        self.plane.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that is counted, as plain data.
    pub(crate) fn stats_snapshot(&self) -> stats::Snapshot {
        let mut snapshot = self.stats.snapshot(self.target.clone());
        if let Some(discovery) = &self.discovery {
            snapshot.set_age = discovery.age();
        }
        snapshot.state = self.connectivity.borrow().state();
        let plane = self.plane();
        let members = plane.members.iter().chain(plane.draining.values());
        snapshot.endpoints = members
            .map(|member| {
                let calls = member.state.rest.load.calls();
                let mut endpoint = member.state.rest.stats.snapshot(&member.endpoint);
                endpoint.in_flight = calls.in_flight();
                endpoint.started = calls.started;
                endpoint.succeeded = calls.succeeded;
                endpoint.failed = calls.failed;
                endpoint.cancelled = calls.cancelled;
                endpoint.refused = calls.refused;
                endpoint.latencies = member.state.rest.load.latencies();
                endpoint.awaiting = member.state.standing.is_awaiting();
                endpoint.failing = member.state.standing.passing == Some(false);
                endpoint.ejected = member.state.standing.ejected;
                endpoint
            })
            .collect();
        snapshot
    }
}

/// What a user's handle holds, and a call for as long as it lasts.
pub(crate) struct Core<C: Connect> {
    pub(crate) shared: Arc<Shared<C>>,
    pub(crate) observer: Arc<Observer>,
}

/// What a call needs to the end of its response, whatever carries it.
#[derive(Debug)]
pub(crate) struct Observer {
    pub(crate) classify: Classify,
    pub(crate) stats: Arc<ChannelStats>,
    pub(crate) mirror: Arc<Mirror>,
    /// Here if outliers are ejected.
    pub(crate) watcher: Option<Watcher>,
    /// Dropped with the last handle, which ends the control task.
    pub(crate) _handle: oneshot::Sender<Infallible>,
}
