//! The control plane of one balancer: a task that follows discovery and connections and publishes snapshots.

use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    mem,
    pin::Pin,
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

#[cfg(feature = "proxy")]
use crate::balance::follow;
use crate::{
    balance::{
        checks::{Checks, News},
        members::Member,
        plane::{Held, Plane, Rest},
        race::{Entrants, Progress, Race},
        retired::Retired,
        shared::Shared,
        snapshot::{Choice, Snapshot},
    },
    connect::{
        Connect, Worker,
        subchannel::{self, Change, Id, Report, Status, Subchannel},
    },
    discover::{Feedback, Resolve},
    endpoint::EndpointSet,
    error::{Error, Phase},
    grpc::Code,
    load::Load,
    policy::{Policy, Wants},
    stats::EndpointStats,
};

/// How soon a retired snapshot that a call was reading is looked at again.
const REAP_AFTER: Duration = Duration::from_millis(10);

/// A publication over very many endpoints takes a while. This many times as long passes before the next one, so that
/// ten thousand first verdicts, one by one, do not take a whole core.
const REST: u32 = 10;

type Resolver = Pin<Box<dyn Resolve>>;

pub(crate) struct Control<C: Connect> {
    shared: Arc<Shared<C>>,
    policy: Arc<dyn Policy>,
    worker: Worker,
    connections: Arc<subchannel::Shared<C>>,
    resolver: Option<Resolver>,
    reports: mpsc::UnboundedReceiver<Report<C::Connection>>,
    report_to: mpsc::UnboundedSender<Report<C::Connection>>,
    /// Resolves when the last handle is gone.
    handles: oneshot::Receiver<Infallible>,
    next_serial: u64,
    generation: u64,
    race: Option<(Race, Vec<usize>)>,
    /// Every member is wanted already.
    all_wanted: bool,
    checks: Checks<C::Connection>,
    /// Whether what calls see may have changed since the last publication.
    dirty: bool,
    /// Whether there is something new for balancers that follow this one.
    #[cfg(feature = "proxy")]
    found: bool,
    /// When the next publication may be.
    rested: Instant,
    retired: Retired<C::Connection>,
}

impl<C: Connect> Control<C> {
    pub(crate) fn new(
        shared: Arc<Shared<C>>,
        connections: subchannel::Shared<C>,
        policy: Arc<dyn Policy>,
        resolver: Resolver,
        worker: Worker,
        checks: Checks<C::Connection>,
        handles: oneshot::Receiver<Infallible>,
    ) -> Self {
        let (report_to, reports) = mpsc::unbounded_channel();
        Self {
            shared,
            policy,
            worker,
            connections: Arc::new(connections),
            resolver: Some(resolver),
            reports,
            report_to,
            handles,
            next_serial: 0,
            generation: 0,
            race: None,
            all_wanted: false,
            checks,
            dirty: false,
            #[cfg(feature = "proxy")]
            found: false,
            rested: Instant::now(),
            retired: Retired::new(),
        }
    }

    pub(crate) async fn run(mut self) {
        loop {
            let wake_at = self.wake_at();
            tokio::select! {
                biased;
                _ = &mut self.handles => return,
                resolved = next(&mut self.resolver) => self.resolved(resolved),
                Some(report) = self.reports.recv() => self.reported(report),
                news = self.checks.next() => self.heard(news),
                () = self.shared.demand.notified() => self.grow(),
                () = until(wake_at) => {}
            }
            // Everything that is there already goes into one publication: an answer with 10 000 endpoints, or a
            // burst of connections, is one change to those who pick.
            tokio::task::yield_now().await;
            while let Some(resolved) = next(&mut self.resolver).now_or_never() {
                self.resolved(resolved);
            }
            while let Ok(report) = self.reports.try_recv() {
                self.reported(report);
            }
            while let Some(news) = self.checks.try_next() {
                self.heard(news);
            }
            let (shared, now) = (self.shared.clone(), Instant::now());
            self.dirty |= self.checks.pass_time(&mut shared.plane(), &shared.random, now);
            self.run_race();
            let now = Instant::now();
            if self.dirty && self.rested <= now {
                self.dirty = false;
                self.publish();
                #[cfg(feature = "proxy")]
                self.tell_followers();
                self.rested = Instant::now() + now.elapsed() * REST;
            }
            self.retired.reap(&self.shared.plane().members);
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let reap = (!self.retired.is_empty()).then(|| Instant::now() + REAP_AFTER);
        let race = self.race.as_ref().and_then(|(race, _)| race.next_start());
        let publish = if self.dirty { Some(self.rested) } else { self.checks.next_wake() };
        reap.into_iter().chain(race).chain(publish).min()
    }

    fn resolved(&mut self, resolved: Option<Result<Arc<EndpointSet>, Error>>) {
        let shared = self.shared.clone();
        self.dirty = true;
        #[cfg(feature = "proxy")]
        {
            self.found = true;
        }
        // The policy is the user's code, and may read the statistics, which the plane's lock guards.
        let wants = match &resolved {
            Some(Ok(set)) => self.policy.wants(set),
            _ => Wants::All,
        };
        let mut plane = shared.plane();
        match resolved {
            Some(Ok(set)) => {
                shared.stats.resolved(&set);
                shared.mirror.resolved();
                plane.last_error = None;
                self.apply(&mut plane, &set, wants);
                plane.resolved = true;
            }
            Some(Err(error)) => {
                shared.stats.resolution_failed(&error);
                shared.mirror.resolution_failed();
                plane.last_error = Some(error);
            }
            None => {
                self.resolver = None;
                if !plane.resolved && plane.last_error.is_none() {
                    let message = format!("discovery of `{}` ended without an answer", shared.target);
                    plane.last_error = Some(Error::new(Code::Unavailable, Phase::Resolve, message));
                }
            }
        }
    }

    fn apply(&mut self, plane: &mut Plane<C::Connection>, set: &Arc<EndpointSet>, wants: Wants) {
        let Plane { members, draining, .. } = plane;
        let all = wants == Wants::All;
        let mut gone = Vec::new();
        let reconciled = members.reconcile(
            set,
            |slot, endpoint| {
                self.next_serial += 1;
                let id = Id { slot, serial: self.next_serial };
                let load = Arc::new(Load::new(self.shared.set_load.clone()));
                let stats = Arc::new(EndpointStats::default());
                let subchannel = Subchannel::spawn(
                    &self.worker,
                    self.connections.clone(),
                    id,
                    endpoint.clone(),
                    load.clone(),
                    stats.clone(),
                    self.report_to.clone(),
                );
                if all {
                    subchannel.connect(endpoint.clone());
                }
                let mut held = Held::new(Rest {
                    id,
                    subchannel,
                    status: Status::Idle,
                    load,
                    stats,
                    wanted: all,
                    verdict: None,
                    ejection: None,
                    probing: None,
                });
                self.checks.watch(&mut held, endpoint);
                held
            },
            Held::update,
            |member| gone.push(member),
        );
        for mut member in gone {
            let state = &mut member.state;
            state.rest.subchannel.drain();
            // A connection closes with its last holder.
            state.ready = None;
            self.checks.forget(state);
            draining.insert(state.rest.id.serial, member);
        }
        tracing::info!(
            target = %self.shared.target,
            endpoints = members.len(),
            added = reconciled.added,
            removed = reconciled.removed,
            updated = reconciled.updated,
            "endpoints changed"
        );
        self.race = None;
        self.all_wanted &= all;
        match wants {
            // New members were wanted from the start.
            Wants::All if mem::replace(&mut self.all_wanted, true) => {}
            Wants::All => plane.want(|_| true),
            Wants::Only(indices) => {
                let mut wanted = vec![false; set.len()];
                indices.into_iter().filter_map(|i| wanted.get_mut(i).map(|w| *w = true)).for_each(drop);
                plane.want(|i| wanted[i]);
            }
            Wants::First(order) => {
                let order: Vec<usize> = order.into_iter().filter(|&i| i < set.len()).collect();
                let is_ready = |&i: &usize| {
                    plane.members.at(i).is_some_and(|member| member.state.progress() == Progress::Ready)
                };
                let race = match order.iter().position(is_ready) {
                    Some(winner) => Race::won_by(winner, order.len(), Instant::now()),
                    None => Race::new(order.len(), Instant::now()),
                };
                self.race = Some((race, order));
            }
        }
    }

    fn run_race(&mut self) {
        let Some((race, order)) = &mut self.race else { return };
        let mut plane = self.shared.plane();
        let entrants = race.step(Instant::now(), |contender| {
            let member = order.get(contender).and_then(|&i| plane.members.at(i));
            member.map_or(Progress::Pending, |member| member.state.progress())
        });
        let wanted = match entrants {
            Entrants::First(count) => order.get(..count).unwrap_or_default(),
            Entrants::Winner(contender) => order.get(contender..=contender).unwrap_or_default(),
        };
        let mut is_wanted = vec![false; plane.members.len()];
        for &i in wanted {
            if let Some(wanted) = is_wanted.get_mut(i) {
                *wanted = true;
            }
        }
        plane.want(|i| is_wanted[i]);
    }

    fn reported(&mut self, Report { id, change }: Report<C::Connection>) {
        let shared = self.shared.clone();
        let mut plane = shared.plane();
        if let Change::Drained = change {
            plane.draining.remove(&id.serial);
            self.checks.report(&plane);
            return;
        }
        let Some(member) = plane.members.slot_mut(id.slot).filter(|member| member.state.rest.id == id) else {
            return;
        };
        self.dirty = true;
        let key = member.endpoint.key().clone();
        let feedback = match change {
            Change::Is(status, lanes) => {
                let was_ready = matches!(member.state.rest.status, Status::Ready);
                let feedback = match &status {
                    Status::Ready if !was_ready => Some(Feedback::Connected(key)),
                    Status::Failed(_) => Some(Feedback::Failed(key)),
                    _ => None,
                };
                member.state.rest.status = status;
                let Member { endpoint, state } = member;
                state.connected(endpoint, lanes);
                feedback
            }
            Change::Lost { going_away: true } => Some(Feedback::GoingAway(key)),
            Change::Lost { going_away: false } => Some(Feedback::Failed(key)),
            Change::Drained => None,
        };
        if let (Some(resolver), Some(feedback)) = (&mut self.resolver, feedback) {
            resolver.as_mut().feedback(feedback);
        }
    }

    fn heard(&mut self, news: News) {
        #[cfg(feature = "proxy")]
        {
            self.found |= matches!(news, News::Verdict(..));
        }
        self.dirty |= self.checks.hear(&mut self.shared.plane(), news);
    }

    #[cfg(feature = "proxy")]
    fn tell_followers(&mut self) {
        let shared = &self.shared;
        // Connections come and go; what others follow is endpoints and verdicts.
        if mem::take(&mut self.found) && shared.found.receiver_count() > 0 {
            shared.found.send_replace(follow::found(&shared.plane(), self.generation));
        }
    }

    /// Some call found every connection full: where an endpoint may have another connection, open one.
    fn grow(&mut self) {
        for member in self.shared.plane().members.iter() {
            if member.state.lanes().is_some_and(|lanes| lanes.open.iter().all(|lane| !lane.gate.has_room())) {
                member.state.rest.subchannel.grow();
            }
        }
    }

    fn publish(&mut self) {
        self.generation += 1;
        let generation = self.generation;
        let ready = {
            let mut plane = self.shared.plane();
            self.checks.admit(&mut plane, Instant::now());
            self.retired.next(&plane.members)
        };
        // Outside the lock, for the policy is the user's code.
        let picker = (!ready.is_empty()).then(|| self.policy.build(&ready));
        let plane = self.shared.plane();
        let choice = picker.map(Choice::Pick).unwrap_or_else(|| {
            let unfinished = self.race.as_ref().is_some_and(|(race, _)| race.next_start().is_some());
            plane.without_endpoints(&self.shared.target, unfinished)
        });
        let snapshot = Snapshot::new(ready, choice, generation);
        let connectivity = plane.connectivity(&snapshot).after(generation);
        drop(plane);
        self.retired.push(self.shared.published.publish(Arc::new(snapshot)));
        self.shared.connectivity.send_modify(|current| {
            if *current != connectivity {
                tracing::info!(target = %self.shared.target, state = ?connectivity.state(), "connectivity changed");
            }
            *current = connectivity;
        });
    }
}

impl<C: Connect> Drop for Control<C> {
    /// Also runs when the runtime shuts down under the balancer: calls that wait must not wait for ever.
    fn drop(&mut self) {
        let error = Error::new(Code::Unavailable, Phase::Pick, "the balancer's runtime has shut down");
        let snapshot = Snapshot::without_endpoints(Choice::Closed(error), self.generation + 1);
        self.shared.connectivity.send_replace(Plane::default().connectivity(&snapshot));
        self.shared.published.publish(Arc::new(snapshot));
        let mut plane = self.shared.plane.lock().unwrap_or_else(PoisonError::into_inner);
        *plane = Plane::default();
    }
}

async fn next(resolver: &mut Option<Resolver>) -> Option<Result<Arc<EndpointSet>, Error>> {
    match resolver {
        Some(resolver) => poll_fn(|cx| resolver.as_mut().poll_resolve(cx)).await,
        None => pending().await,
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}
