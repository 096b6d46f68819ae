//! What the control plane knows of its endpoints' health: probes, verdicts, ejections, and the sum of it all.

use std::{future::pending, sync::Arc};

use tokio::{sync::mpsc, time::Instant};
use tracing::{info, warn};

use crate::{
    balance::{
        ejection::{Ejection, Suspicion, Watcher},
        plane::{Held, Plane},
        probing::{StartProbe, VerdictSender, Ward},
        standing::{Admission, Census, Standing},
    },
    connect::subchannel::Id,
    eject::Eject,
    endpoint::Endpoint,
    error::{Error, Phase},
    grpc::Code,
    health::{Panic, Reporter, Summary, Verdict},
    random::Random,
    slow_start::SlowStart,
    stats::ChannelStats,
};

/// The settings of health in a balancer.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    /// Whether endpoints wait for a verdict that comes with them.
    pub(crate) await_verdicts: bool,
    pub(crate) eject: Option<Eject>,
    pub(crate) panic: Panic,
    pub(crate) slow_start: Option<SlowStart>,
}

/// What the control plane hears of an endpoint's health.
pub(crate) enum News {
    /// What its probe says; `None`: a verdict is awaited anew.
    Verdict(Id, Option<Verdict>),
    Suspicion(Suspicion),
}

pub(crate) struct Checks<C> {
    probe: Option<StartProbe<C>>,
    await_verdicts: bool,
    ejection: Option<Ejection>,
    admission: Admission,
    sender: mpsc::UnboundedSender<(Id, Option<Verdict>)>,
    verdicts: mpsc::UnboundedReceiver<(Id, Option<Verdict>)>,
    reporter: Reporter,
    census: Census,
    stats: Arc<ChannelStats>,
    target: Arc<str>,
}

impl<C> Checks<C> {
    pub(crate) fn new(
        settings: Settings,
        probe: Option<StartProbe<C>>,
        reporter: Reporter,
        stats: Arc<ChannelStats>,
        target: Arc<str>,
    ) -> Result<(Self, Option<Watcher>), Error> {
        let (sender, verdicts) = mpsc::unbounded_channel();
        let Settings { await_verdicts, eject, panic, slow_start } = settings;
        let invalid = |bad: String| Error::new(Code::InvalidArgument, Phase::Build, bad);
        slow_start.map_or(Ok(()), |slow_start| slow_start.check()).map_err(|bad| invalid(bad.to_string()))?;
        let ejection = eject
            .map(|eject| Ejection::new(eject, Instant::now()))
            .transpose()
            .map_err(|bad| invalid(bad.to_string()))?;
        let (watcher, ejection) = ejection.unzip();
        let (admission, census) = (Admission::new(panic, slow_start), Census::default());
        let checks = Self {
            probe,
            await_verdicts,
            ejection,
            admission,
            sender,
            verdicts,
            reporter,
            census,
            stats,
            target,
        };
        Ok((checks, watcher))
    }

    /// A new endpoint.
    pub(crate) fn watch(&mut self, held: &mut Held<C>, endpoint: &Arc<Endpoint>) {
        if let Some(ejection) = &mut self.ejection {
            ejection.watch(held);
        }
        held.standing = Standing::new(self.probe.is_some() || self.await_verdicts);
        if let Some(start) = &self.probe {
            let verdicts = VerdictSender::new(held.rest.id, self.sender.clone());
            held.rest.probing = Some(start(Ward::new(endpoint.clone(), held.rest.load.clone(), verdicts)));
        }
        held.describe(endpoint);
    }

    /// The endpoint has left the set.
    pub(crate) fn forget(&mut self, held: &mut Held<C>) {
        held.rest.probing = None;
        if let Some(ejection) = &mut self.ejection {
            ejection.forget(held);
        }
    }

    /// The next news.
    pub(crate) async fn next(&mut self) -> News {
        let suspicion = async {
            match &mut self.ejection {
                Some(ejection) => ejection.next().await,
                None => pending().await,
            }
        };
        tokio::select! {
            Some((id, verdict)) = self.verdicts.recv() => News::Verdict(id, verdict),
            Some(suspicion) = suspicion => News::Suspicion(suspicion),
            // The last call has ended, and no probe is left: no more news will come.
            else => pending().await,
        }
    }

    /// The next news, if they are there already.
    pub(crate) fn try_next(&mut self) -> Option<News> {
        if let Ok((id, verdict)) = self.verdicts.try_recv() {
            return Some(News::Verdict(id, verdict));
        }
        self.ejection.as_mut()?.try_next().map(News::Suspicion)
    }

    /// Takes in news. Whether they may change who gets calls.
    pub(crate) fn hear(&mut self, plane: &mut Plane<C>, news: News) -> bool {
        match news {
            News::Verdict(id, verdict) => self.judge(plane, id, verdict),
            News::Suspicion(suspicion) => match &mut self.ejection {
                Some(ejection) => ejection.hear(plane, suspicion, Instant::now()),
                None => false,
            },
        }
    }

    /// Takes in a verdict, unless it is on an endpoint that has left.
    fn judge(&mut self, plane: &mut Plane<C>, id: Id, verdict: Option<Verdict>) -> bool {
        let Some(member) = plane.members.slot_mut(id.slot).filter(|member| member.state.rest.id == id) else {
            return false;
        };
        let state = &mut member.state;
        let passing = verdict.as_ref().map(Verdict::is_passing);
        let changes = state.standing.passing != passing;
        state.standing.passing = passing;
        state.rest.verdict = verdict;
        // Another cause of a failure is to be seen in the summary, too.
        changes || passing == Some(false)
    }

    /// When to decide anew whom to admit, though nothing has happened.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let sweep = self.ejection.as_ref().and_then(Ejection::next_wake);
        self.admission.next_step.into_iter().chain(sweep).min()
    }

    /// Does what is due by now. Whether it may change who gets calls.
    pub(crate) fn pass_time(&mut self, plane: &mut Plane<C>, random: &Random, now: Instant) -> bool {
        let swept = self.ejection.as_mut().is_some_and(|ejection| ejection.sweep(plane, random, now));
        swept || self.admission.next_step.is_some_and(|at| at <= now)
    }

    /// Decides whom to admit, and tells how many there are.
    pub(crate) fn admit(&mut self, plane: &mut Plane<C>, now: Instant)
    where
        C: Send + Sync + 'static,
    {
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
    pub(crate) fn report(&self, plane: &Plane<C>) {
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
