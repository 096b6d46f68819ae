//! What the control plane knows of its endpoints' health: probes, verdicts, ejections, and the sum of it all.

use std::{future::pending, sync::Arc};

use tokio::{sync::mpsc, task::AbortHandle, time::Instant};
use tracing::{info, warn};

use crate::{
    balance::{
        members::Member,
        plane::{Held, Plane},
        standing::{Admission, Census, Standing},
    },
    connect::subchannel::Id,
    endpoint::Endpoint,
    health::{Panic, Reporter, SlowStart, Summary, Verdict},
    load::Load,
    stats::ChannelStats,
};

/// Starts to probe an endpoint.
pub(crate) type StartProbe = Arc<dyn Fn(Ward) -> AbortHandle + Send + Sync>;

/// An endpoint that is to be probed.
pub(crate) struct Ward {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) load: Arc<Load>,
    pub(crate) verdicts: VerdictSender,
}

/// Tells the control plane of one endpoint's verdicts.
#[derive(Clone)]
pub(crate) struct VerdictSender {
    id: Id,
    sender: mpsc::UnboundedSender<(Id, Verdict)>,
}

impl VerdictSender {
    pub(crate) fn send(&self, verdict: Verdict) {
        // Without a control plane nobody needs to know.
        let _ = self.sender.send((self.id, verdict));
    }
}

/// A probe that is under way; dropping it ends it.
pub(crate) struct Probing(AbortHandle);

impl Drop for Probing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The settings of health in a balancer.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) probe: Option<StartProbe>,
    pub(crate) panic: Panic,
    pub(crate) slow_start: Option<SlowStart>,
}

pub(crate) struct Checks {
    probe: Option<StartProbe>,
    admission: Admission,
    sender: mpsc::UnboundedSender<(Id, Verdict)>,
    verdicts: mpsc::UnboundedReceiver<(Id, Verdict)>,
    reporter: Reporter,
    census: Census,
    stats: Arc<ChannelStats>,
    target: Arc<str>,
}

impl Checks {
    pub(crate) fn new(
        settings: Settings,
        reporter: Reporter,
        stats: Arc<ChannelStats>,
        target: Arc<str>,
    ) -> Self {
        let (sender, verdicts) = mpsc::unbounded_channel();
        let Settings { probe, panic, slow_start } = settings;
        let admission = Admission::new(panic, slow_start);
        Self { probe, admission, sender, verdicts, reporter, census: Census::default(), stats, target }
    }

    /// Starts to probe a new endpoint, if endpoints are probed.
    pub(crate) fn watch<C>(&self, held: &mut Held<C>, endpoint: &Arc<Endpoint>) {
        let Some(start) = &self.probe else { return };
        let verdicts = VerdictSender { id: held.rest.id, sender: self.sender.clone() };
        let ward = Ward { endpoint: endpoint.clone(), load: held.rest.load.clone(), verdicts };
        held.rest.probing = Some(Probing(start(ward)));
        held.standing = Standing::awaiting();
    }

    /// The next verdict on an endpoint.
    pub(crate) async fn next(&mut self) -> (Id, Verdict) {
        match self.verdicts.recv().await {
            Some(verdict) => verdict,
            // There is a sender in `self`.
            None => pending().await,
        }
    }

    /// The next verdict, if it is there already.
    pub(crate) fn try_next(&mut self) -> Option<(Id, Verdict)> {
        self.verdicts.try_recv().ok()
    }

    /// Takes in a verdict. Whether it is on an endpoint of the set, rather than on one that has left it.
    pub(crate) fn hear<C>(&mut self, plane: &mut Plane<C>, (id, verdict): (Id, Verdict)) -> bool {
        let Some(member) = plane.members.slot_mut(id.slot).filter(|member| member.state.rest.id == id) else {
            return false;
        };
        let Member { endpoint, state } = member;
        let passing = verdict.is_passing();
        if state.standing.passing.replace(passing) != Some(passing) {
            info!(target: "grpc_balance::health", cluster = %self.target, %endpoint, %verdict, "verdict changed");
        }
        state.rest.verdict = Some(verdict);
        true
    }

    /// When to decide anew whom to admit, though nothing has happened.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.admission.next_step
    }

    /// Decides whom to admit, and tells how many there are.
    pub(crate) fn admit<C>(&mut self, plane: &mut Plane<C>, now: Instant) {
        let was_panicking = self.admission.is_panicking;
        self.census = self.admission.admit(&mut plane.members, now);
        let Census { healthy, ready, .. } = self.census;
        match (was_panicking, self.admission.is_panicking) {
            (false, true) => {
                self.stats.panicked();
                warn!(target: "grpc_balance::health", cluster = %self.target, healthy, ready,
                    "too few endpoints are healthy: panic, health is ignored");
            }
            (true, false) => {
                info!(target: "grpc_balance::health", cluster = %self.target, healthy, ready,
                    "enough endpoints are healthy again: the panic is over");
            }
            _ => {}
        }
        self.report(plane);
    }

    /// Tells the health of the whole to whoever watches it.
    pub(crate) fn report<C>(&self, plane: &Plane<C>) {
        if !plane.resolved {
            return;
        }
        let Census { awaiting, healthy, ready, ejected } = self.census;
        let summary = Summary::of(plane.members.len())
            .awaiting(awaiting)
            .healthy(healthy)
            .ready(ready)
            .ejected(ejected)
            .draining(plane.draining.len())
            .in_panic(self.admission.is_panicking);
        let unfit = plane.members.iter().filter(|member| !member.state.standing.is_fit());
        let summary = unfit.take(Summary::NAMED).fold(summary, |summary, member| {
            summary.unfit(member.endpoint.clone(), member.state.why_unfit())
        });
        self.reporter.report(summary);
    }
}
