//! One endpoint's connections, kept up for as long as the endpoint is wanted.
//!
//! ```text
//!             wanted                    established
//!   Idle ───────────────► Connecting ─────────────────► Ready
//!                          │      ▲                       │
//!             failed, gave │      │ last connection lost  │
//!             up in time   ▼      └───────────────────────┘
//!                        Failed ──► (backoff, another attempt, still Failed) ──► Ready
//! ```
//!
//! `Failed` is sticky: it lasts until a connection is established, so that callers do not wait for attempts that have
//! been failing (gRFC A62's "sticky TRANSIENT_FAILURE"). Each endpoint has one task; it owns the attempt in progress
//! and the connections, and ends when its [`Subchannel`] handle is dropped.
mod attempt;
mod task;
mod watched;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    task::AbortHandle,
};

use self::task::Task;
use crate::{
    backoff::Backoff,
    connect::{Connect, Gate, Room, Worker, dial::DialLimit},
    endpoint::Endpoint,
    error::Error,
    load::Load,
    metrics::Mirror,
    random::Random,
    stats::EndpointStats,
};

/// What every subchannel of a balancer shares.
pub(crate) struct Shared<C> {
    pub(crate) connector: C,
    pub(crate) settings: Settings,
    /// Bounds the attempts in flight over all endpoints.
    pub(crate) dials: DialLimit,
    pub(crate) room: Arc<Room>,
    pub(crate) random: Arc<Random>,
    pub(crate) mirror: Arc<Mirror>,
}

/// How an endpoint's connections are made and kept.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) connect_timeout: Duration,
    pub(crate) max_connections: usize,
    pub(crate) backoff: Backoff,
    pub(crate) drain_limit: Option<Duration>,
}

/// An open connection and the gate to its streams.
pub(crate) struct Lane<C> {
    pub(crate) connection: Arc<C>,
    pub(crate) gate: Arc<Gate>,
}

/// The open connections of one endpoint, the oldest first.
pub(crate) struct Lanes<C> {
    pub(crate) open: Vec<Lane<C>>,
}

impl<C> Clone for Lane<C> {
    fn clone(&self) -> Self {
        Self { connection: self.connection.clone(), gate: self.gate.clone() }
    }
}

impl<C> Clone for Lanes<C> {
    fn clone(&self) -> Self {
        Self { open: self.open.clone() }
    }
}

/// What a subchannel's owner knows of it.
#[derive(Clone, Debug)]
pub(crate) enum Status {
    /// No connection is wanted.
    Idle,
    /// The first attempt, or the first since a connection was lost, is under way.
    Connecting,
    /// At least one connection takes calls.
    Ready,
    /// The latest attempt failed.
    Failed(Error),
}

/// Names a subchannel to its owner: the owner's slot for it, and a number that no other subchannel ever had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id {
    pub(crate) slot: usize,
    pub(crate) serial: u64,
}

/// One change of a subchannel.
pub(crate) struct Report<C> {
    pub(crate) id: Id,
    pub(crate) change: Change<C>,
}

pub(crate) enum Change<C> {
    /// Its state is now this.
    Is(Status, Lanes<C>),
    /// It lost a connection; its new state, if any, follows.
    Lost { going_away: bool },
    /// It has drained and ended.
    Drained,
}
/// What the owner wants of a subchannel.
#[derive(Clone, Debug, Default)]
enum Wish {
    #[default]
    Idle,
    Connected(Arc<Endpoint>),
    Drained,
}

/// How the owner tells the task. There may be ten thousand, so it is no channel.
#[derive(Default)]
struct Orders {
    wish: Mutex<Wish>,
    grow: AtomicBool,
    news: Notify,
}

impl Orders {
    fn wish(&self, wish: Wish) {
        *self.wish.lock().unwrap_or_else(PoisonError::into_inner) = wish;
        self.news.notify_one();
    }

    fn read(&self) -> Wish {
        self.wish.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
/// The handle to one endpoint's connections. Dropping it closes them at once.
pub(crate) struct Subchannel {
    orders: Arc<Orders>,
    task: AbortHandle,
}

impl Subchannel {
    /// A subchannel that does nothing yet.
    pub(crate) fn spawn<C: Connect>(
        worker: &Worker,
        shared: Arc<Shared<C>>,
        id: Id,
        endpoint: Arc<Endpoint>,
        load: Arc<Load>,
        stats: Arc<EndpointStats>,
        reports: mpsc::UnboundedSender<Report<C::Connection>>,
    ) -> Self {
        let orders = Arc::<Orders>::default();
        let mut task = Task::new(shared, id, endpoint, load, stats, reports, orders.clone());
        Self { orders, task: worker.spawn(async move { task.run().await }).abort_handle() }
    }

    /// Keeps a connection to the endpoint from now on; its attributes count for the next attempt.
    pub(crate) fn connect(&self, endpoint: Arc<Endpoint>) {
        self.orders.wish(Wish::Connected(endpoint));
    }

    /// Gives up connections and attempts; streams in flight finish.
    pub(crate) fn idle(&self) {
        self.orders.wish(Wish::Idle);
    }

    /// Takes no new calls, lets streams in flight finish within the drain limit, then reports [`Change::Drained`].
    pub(crate) fn drain(&self) {
        self.orders.wish(Wish::Drained);
    }

    /// Opens another connection if the limit allows and none is being opened (gRFC A105).
    pub(crate) fn grow(&self) {
        self.orders.grow.store(true, Relaxed);
        self.orders.news.notify_one();
    }
}

impl Drop for Subchannel {
    fn drop(&mut self) {
        self.task.abort();
    }
}
