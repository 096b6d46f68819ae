//! The task that keeps one endpoint's connections.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};

use super::{
    Change, Id, Lane, Lanes, Orders, Report, Shared, Status, Wish,
    attempt::{Attempt, Progress},
    watched::{Watched, closed, next_change},
};
use crate::{
    backoff::Delays,
    connect::{Connect, ConnectionState, Cut, Established, Gate},
    endpoint::Endpoint,
    error::{Error, Phase},
    grpc::Code,
    load::Load,
    stats::{Disconnect, EndpointState, EndpointStats},
};

pub(super) struct Task<C: Connect> {
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
    leaving: Vec<(watch::Receiver<ConnectionState>, Option<Cut>)>,
    /// When the next attempt may start; `None` means at once.
    next_attempt: Option<Instant>,
}

impl<C: Connect> Task<C> {
    pub(super) fn new(
        shared: Arc<Shared<C>>,
        id: Id,
        endpoint: Arc<Endpoint>,
        load: Arc<Load>,
        stats: Arc<EndpointStats>,
        reports: mpsc::UnboundedSender<Report<C::Connection>>,
        orders: Arc<Orders>,
    ) -> Self {
        Self {
            delays: shared.settings.backoff.delays(),
            shared,
            id,
            endpoint,
            load,
            stats,
            reports,
            orders,
            status: Status::Idle,
            open: Vec::new(),
            leaving: Vec::new(),
            next_attempt: None,
        }
    }

    pub(super) async fn run(&mut self) {
        let mut attempt = Attempt::None;
        let mut growing = false;
        loop {
            let wish = self.orders.read();
            match wish {
                Wish::Connected(endpoint) => self.endpoint = endpoint,
                Wish::Idle => {
                    attempt = Attempt::None;
                    self.leave_all(Disconnect::Removed);
                    // An attempt that was given up is no failure: the next wish finds a clean slate.
                    self.delays.reset();
                    self.next_attempt = None;
                    self.enter(Status::Idle);
                    self.orders.news.notified().await;
                    continue;
                }
                Wish::Drained => {
                    drop(attempt);
                    return self.drained().await;
                }
            }
            // What a failed attempt could not give is still asked for when the next one may start.
            let may_grow = !self.open.is_empty() && self.open.len() < self.shared.settings.max_connections;
            growing |= may_grow && self.orders.grow.swap(false, Relaxed);
            let wants_dial = self.open.is_empty() || growing;
            if wants_dial && attempt.is_none() {
                if self.open.is_empty() && matches!(self.status, Status::Idle | Status::Ready) {
                    self.enter(Status::Connecting);
                }
                if self.next_attempt.is_none_or(|at| at <= Instant::now()) {
                    attempt = Attempt::queue(self.shared.dials.clone());
                }
            }
            tokio::select! {
                () = self.orders.news.notified() => {}
                (index, state) = next_change(&mut self.open) => {
                    self.connection_changed(index, state, !attempt.is_none());
                }
                progress = attempt.progress() => match progress {
                    Progress::Turn(permit) => {
                        let started = Instant::now();
                        self.next_attempt = Some(self.delays.next_attempt_after(started, &self.shared.random));
                        attempt = Attempt::start(permit, &self.shared, self.endpoint.clone(), started);
                    }
                    Progress::Over(result, started) => {
                        attempt = Attempt::None;
                        growing &= result.is_err() && !self.open.is_empty();
                        self.attempt_ended(result, started);
                    }
                },
                () = until(self.next_attempt), if wants_dial && attempt.is_none() => {}
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

    fn connection_changed(&mut self, index: usize, state: ConnectionState, attempting: bool) {
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
        // An attempt for one more connection that is under way already has its own time.
        if !attempting {
            self.delays.reset();
            let useful = self.load.calls().succeeded > succeeded_before;
            self.next_attempt =
                (!useful).then(|| self.delays.next_attempt_after(attempt_started, &self.shared.random));
            self.delays.reset();
        }
        if going_away {
            self.leaving.push((established.health, established.cut));
        }
        self.leaving.retain(|(health, _)| health.has_changed().is_ok());
        self.report(Change::Lost { going_away });
        let status = match self.open.is_empty() {
            true => {
                self.stats.set_state(&self.endpoint, EndpointState::Connecting, Some(&cause));
                Status::Connecting
            }
            false => Status::Ready,
        };
        self.enter(status);
    }

    /// Takes no more calls on any connection; streams in flight finish.
    fn leave_all(&mut self, reason: Disconnect) {
        for Watched { established, gate, .. } in self.open.drain(..) {
            gate.set_max(0);
            self.stats.disconnected(&self.endpoint, reason, None);
            self.shared.mirror.disconnected(reason);
            self.leaving.push((established.health, established.cut));
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
                    let message = format!("the endpoint was removed, and its streams had {limit:?} to end");
                    let cause =
                        Error::new(Code::Unavailable, Phase::Stream, message).at(self.endpoint.clone());
                    self.leaving.drain(..).filter_map(|(_, cut)| cut).for_each(|cut| cut(cause.clone()));
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
async fn until(instant: Option<Instant>) {
    if let Some(instant) = instant {
        sleep_until(instant).await;
    }
}
