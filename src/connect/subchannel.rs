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

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::{pending, select_all};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::AbortHandle,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    backoff::{Backoff, Delays},
    connect::{
        Connect, ConnectionState, Established, Gate, Room, Worker,
        dial::{DialLimit, DialPermit},
    },
    endpoint::Endpoint,
    error::{Error, Phase},
    grpc::Code,
    load::Load,
    metrics::Mirror,
    random::Random,
    stats::{Disconnect, EndpointState, EndpointStats},
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
        let delays = shared.settings.backoff.delays();
        let mut task = Task {
            shared,
            id,
            endpoint,
            load,
            stats,
            reports,
            orders: orders.clone(),
            delays,
            status: Status::Idle,
            open: Vec::new(),
            leaving: Vec::new(),
            next_attempt: None,
        };
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

/// A connection that the task watches.
struct Watched<C> {
    established: Established<C>,
    gate: Arc<Gate>,
    attempt_started: Instant,
    /// The endpoint's successful calls when the connection was made.
    succeeded_before: u64,
}

type Attempt<C> = Pin<Box<dyn Future<Output = Result<Established<C>, Error>> + Send>>;

/// The stages of an attempt: waiting for one of the shared slots, then dialling.
enum Dialling<C> {
    No,
    Queued(Pin<Box<dyn Future<Output = DialPermit> + Send>>),
    Dialling { _slot: DialPermit, attempt: Attempt<C>, started: Instant },
}

struct Task<C: Connect> {
    shared: Arc<Shared<C>>,
    id: Id,
    endpoint: Arc<Endpoint>,
    load: Arc<Load>,
    stats: Arc<EndpointStats>,
    reports: mpsc::UnboundedSender<Report<C::Connection>>,
    orders: Arc<Orders>,
    delays: Delays,
    status: Status,
    /// Connections that take calls.
    open: Vec<Watched<C::Connection>>,
    /// Connections that are finishing their last streams; only their end is watched.
    leaving: Vec<(watch::Receiver<ConnectionState>, Option<AbortHandle>)>,
    /// When the next attempt may start; `None` means at once.
    next_attempt: Option<Instant>,
}

impl<C: Connect> Task<C> {
    async fn run(&mut self) {
        let mut dialling = Dialling::No;
        let mut growing = false;
        loop {
            let wish = self.orders.read();
            match wish {
                Wish::Connected(endpoint) => self.endpoint = endpoint,
                Wish::Idle => {
                    dialling = Dialling::No;
                    self.leave_all(Disconnect::Removed);
                    self.enter(Status::Idle);
                    self.orders.news.notified().await;
                    continue;
                }
                Wish::Drained => {
                    drop(dialling);
                    return self.drained().await;
                }
            }
            let wants_dial = self.open.is_empty() || growing;
            if wants_dial && matches!(dialling, Dialling::No) {
                if self.open.is_empty() && matches!(self.status, Status::Idle | Status::Ready) {
                    self.enter(Status::Connecting);
                }
                if self.next_attempt.is_none_or(|at| at <= Instant::now()) {
                    let dials = self.shared.dials.clone();
                    dialling = Dialling::Queued(Box::pin(async move { dials.acquire().await }));
                }
            }
            let may_grow = !growing
                && !self.open.is_empty()
                && self.open.len() < self.shared.settings.max_connections
                && self.next_attempt.is_none_or(|at| at <= Instant::now());
            tokio::select! {
                () = self.orders.news.notified() => {
                    growing |= self.orders.grow.swap(false, Relaxed) && may_grow;
                }
                (index, state) = next_change(&mut self.open) => {
                    self.connection_changed(index, state);
                }
                progress = advance(&mut dialling) => match progress {
                    Progress::Slot(slot) => {
                        let started = Instant::now();
                        self.next_attempt = Some(self.delays.next_attempt_after(started, &self.shared.random));
                        let attempt = attempt(&self.shared, self.endpoint.clone());
                        dialling = Dialling::Dialling { _slot: slot, attempt, started };
                    }
                    Progress::Done(result, started) => {
                        dialling = Dialling::No;
                        growing = false;
                        self.attempt_ended(result, started);
                    }
                },
                () = until(self.next_attempt), if wants_dial && matches!(dialling, Dialling::No) => {}
            }
        }
    }

    fn attempt_ended(&mut self, result: Result<Established<C::Connection>, Error>, started: Instant) {
        match result {
            Ok(established) => {
                self.stats.connected();
                self.shared.mirror.connected();
                // "Reset when the peer's SETTINGS arrive": that is what `Connect` promises by resolving.
                self.delays.reset();
                self.next_attempt = None;
                let gate = Arc::new(Gate::new(self.shared.room.clone()));
                if let ConnectionState::Open { max_streams } = &*established.health.borrow() {
                    gate.set_max(*max_streams);
                }
                let succeeded_before = self.load.calls().succeeded;
                self.open.push(Watched { established, gate, attempt_started: started, succeeded_before });
                self.enter(Status::Ready);
            }
            Err(cause) => {
                self.stats.connect_failed(&self.endpoint, &cause);
                self.shared.mirror.connect_failed();
                if self.open.is_empty() {
                    self.enter(Status::Failed(cause));
                }
            }
        }
    }

    fn connection_changed(&mut self, index: usize, state: ConnectionState) {
        let (reason, cause) = match state {
            ConnectionState::Open { max_streams } => {
                if let Some(watched) = self.open.get(index) {
                    watched.gate.set_max(max_streams);
                }
                return;
            }
            ConnectionState::GoingAway { cause, .. } => (Disconnect::GoAway, cause),
            ConnectionState::Closed { reason, cause, .. } => (reason, cause),
        };
        let Watched { established, gate, attempt_started, succeeded_before } = self.open.remove(index);
        gate.set_max(0);
        let going_away = reason == Disconnect::GoAway;
        self.stats.disconnected(&self.endpoint, reason, Some(&cause));
        self.shared.mirror.disconnected(reason);
        // A connection that was of use is replaced at once. One that the peer ends as soon as it is made would have
        // us reconnect in a tight loop, so the next attempt then keeps the initial delay from the last one's start.
        self.delays.reset();
        let useful = self.load.calls().succeeded > succeeded_before;
        self.next_attempt =
            (!useful).then(|| self.delays.next_attempt_after(attempt_started, &self.shared.random));
        self.delays.reset();
        if going_away {
            self.leaving.push((established.health, established.driver));
        }
        self.leaving.retain(|(health, _)| health.has_changed().is_ok());
        self.report(Change::Lost { going_away });
        let status = if self.open.is_empty() { Status::Connecting } else { Status::Ready };
        self.enter(status);
    }

    /// Takes no more calls on any connection; streams in flight finish.
    fn leave_all(&mut self, reason: Disconnect) {
        for Watched { established, gate, .. } in self.open.drain(..) {
            gate.set_max(0);
            self.stats.disconnected(&self.endpoint, reason, None);
            self.shared.mirror.disconnected(reason);
            self.leaving.push((established.health, established.driver));
        }
    }

    async fn drained(&mut self) {
        self.leave_all(Disconnect::Removed);
        self.enter(Status::Idle);
        self.stats.set_state(&self.endpoint, EndpointState::Draining, None);
        let ends = self.leaving.iter_mut().map(|(health, _)| Box::pin(closed(health)));
        let all = futures_util::future::join_all(ends);
        match self.shared.settings.drain_limit {
            None => {
                all.await;
            }
            Some(limit) => {
                if timeout(limit, all).await.is_err() {
                    self.leaving
                        .iter()
                        .filter_map(|(_, driver)| driver.as_ref())
                        .for_each(AbortHandle::abort);
                }
            }
        }
        self.report(Change::Drained);
    }

    /// Enters a state and says so. The connections may have changed even where the state has not.
    fn enter(&mut self, status: Status) {
        if matches!((&self.status, &status), (Status::Idle, Status::Idle)) {
            return;
        }
        let (state, cause) = match &status {
            Status::Idle => (EndpointState::Idle, None),
            Status::Connecting => (EndpointState::Connecting, None),
            Status::Ready => (EndpointState::Ready, None),
            Status::Failed(cause) => (EndpointState::Backoff, Some(cause)),
        };
        self.stats.set_state(&self.endpoint, state, cause);
        self.status = status.clone();
        let open = self
            .open
            .iter()
            .map(|watched| Lane {
                connection: watched.established.connection.clone(),
                gate: watched.gate.clone(),
            })
            .collect();
        self.report(Change::Is(status, Lanes { open }));
    }

    fn report(&self, change: Change<C::Connection>) {
        // The owner may be gone already; then nobody needs to know.
        let _ = self.reports.send(Report { id: self.id, change });
    }
}

impl<C: Connect> Drop for Task<C> {
    fn drop(&mut self) {
        self.leave_all(Disconnect::Shutdown);
    }
}

enum Progress<C> {
    Slot(DialPermit),
    Done(Result<Established<C>, Error>, Instant),
}

/// Cancel-safe: all progress is kept in `dialling`.
async fn advance<C>(dialling: &mut Dialling<C>) -> Progress<C> {
    match dialling {
        Dialling::No => pending().await,
        Dialling::Queued(slot) => Progress::Slot(slot.await),
        Dialling::Dialling { attempt, started, .. } => Progress::Done(attempt.await, *started),
    }
}

fn attempt<C: Connect>(shared: &Shared<C>, endpoint: Arc<Endpoint>) -> Attempt<C::Connection> {
    let limit = shared.settings.connect_timeout;
    let connecting = shared.connector.connect(&endpoint);
    Box::pin(async move {
        timeout(limit, connecting).await.unwrap_or_else(|_| {
            let message = format!("not connected within {limit:?}");
            Err(Error::new(Code::Unavailable, Phase::Connect, message).at(endpoint))
        })
    })
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => {}
    }
}

async fn closed(health: &mut watch::Receiver<ConnectionState>) {
    while health.changed().await.is_ok() {}
}

/// The next change of any connection. A connection whose sender is gone has closed.
async fn next_change<C>(open: &mut [Watched<C>]) -> (usize, ConnectionState) {
    if open.is_empty() {
        return pending().await;
    }
    let changes = open.iter_mut().map(|watched| {
        let health = &mut watched.established.health;
        Box::pin(async move {
            let alive = health.changed().await.is_ok();
            let state = health.borrow_and_update().clone();
            match state {
                ConnectionState::Open { .. } if !alive => ConnectionState::Closed {
                    reason: Disconnect::Closed,
                    too_many_pings: false,
                    cause: Error::new(Code::Unavailable, Phase::Stream, "the connection was closed"),
                },
                state => state,
            }
        })
    });
    let (state, index, _) = select_all(changes).await;
    (index, state)
}
