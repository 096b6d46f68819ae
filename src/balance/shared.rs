//! What handles, calls and the control task have in common.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, oneshot, watch};

use crate::{
    balance::{plane::Plane, published::Published, snapshot::Snapshot, state::Connectivity},
    connect::{Connect, Room},
    grpc::Classify,
    load::SetLoad,
    random::Random,
    stats::ChannelStats,
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
    pub(crate) connectivity: watch::Sender<Connectivity>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) wait_for_ready: bool,
}

impl<C: Connect> Shared<C> {
    pub(crate) fn plane(&self) -> MutexGuard<'_, Plane<C::Connection>> {
        // Nothing panics while holding the lock; were it to, a torn view of statistics beats a second panic.
        self.plane.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// Dropped with the last handle, which ends the control task.
    pub(crate) _handle: oneshot::Sender<Infallible>,
}
