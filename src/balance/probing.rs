//! The probes of a balancer's own endpoints.
#![cfg_attr(not(feature = "probe"), allow(dead_code, reason = "without the feature only tests start probes"))]

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::{sync::mpsc, task::AbortHandle};

use crate::{
    connect::{
        Connect, Worker,
        dial::DialLimit,
        subchannel::{Id, Lane},
    },
    endpoint::{Endpoint, Verdict},
    load::Load,
    random::Random,
    stats::ChannelStats,
};

/// Starts to probe an endpoint that is reached by connections of type `C`.
pub(crate) type StartProbe<C> = Arc<dyn Fn(Ward) -> Probing<C> + Send + Sync>;

/// A probe, before it is known where it runs.
pub(crate) trait Prepare<C>: Send {
    /// Makes probes for a balancer.
    fn prepare(self: Box<Self>, kit: Kit<'_, C>) -> StartProbe<C::Connection>
    where
        C: Connect;
}

/// What probes need of their balancer.
pub(crate) struct Kit<'a, C> {
    pub(crate) connector: &'a C,
    pub(crate) worker: &'a Worker,
    pub(crate) dials: &'a DialLimit,
    pub(crate) random: &'a Arc<Random>,
    pub(crate) stats: &'a Arc<ChannelStats>,
}

/// An endpoint that is to be probed.
pub(crate) struct Ward {
    /// Its attributes as they are now.
    pub(crate) endpoint: Arc<ArcSwap<Endpoint>>,
    pub(crate) load: Arc<Load>,
    pub(crate) verdicts: VerdictSender,
}

impl Ward {
    pub(super) fn new(endpoint: Arc<Endpoint>, load: Arc<Load>, verdicts: VerdictSender) -> Self {
        Self { endpoint: Arc::new(ArcSwap::new(endpoint)), load, verdicts }
    }
}

/// Tells the control plane of one endpoint's verdicts.
#[derive(Clone)]
pub(crate) struct VerdictSender {
    id: Id,
    sender: mpsc::UnboundedSender<(Id, Option<Verdict>)>,
}

impl VerdictSender {
    pub(super) fn new(id: Id, sender: mpsc::UnboundedSender<(Id, Option<Verdict>)>) -> Self {
        Self { id, sender }
    }

    /// `None`: a verdict is awaited anew.
    pub(crate) fn send(&self, verdict: Option<Verdict>) {
        // Without a control plane nobody needs to know.
        let _ = self.sender.send((self.id, verdict));
    }
}

/// A probe that is under way; dropping it ends it.
pub(crate) struct Probing<C> {
    task: AbortHandle,
    endpoint: Arc<ArcSwap<Endpoint>>,
    lend: Option<Lend<C>>,
}

type Lend<C> = Box<dyn Fn(Option<&Lane<C>>) + Send + Sync>;

impl<C> Probing<C> {
    pub(crate) fn new(task: AbortHandle, endpoint: Arc<ArcSwap<Endpoint>>) -> Self {
        Self { task, endpoint, lend: None }
    }

    /// Passes the connection that carries calls on, whenever it is another one.
    pub(crate) fn lend_to(mut self, lend: impl Fn(Option<&Lane<C>>) + Send + Sync + 'static) -> Self {
        self.lend = Some(Box::new(lend));
        self
    }

    /// The endpoint has these attributes now.
    pub(super) fn describe(&self, endpoint: Arc<Endpoint>) {
        self.endpoint.store(endpoint);
    }

    /// Calls go out on this connection now, or on none.
    pub(super) fn lend(&self, lane: Option<&Lane<C>>) {
        if let Some(lend) = &self.lend {
            lend(lane);
        }
    }
}

impl<C> Drop for Probing<C> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(feature = "probe")]
mod start {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    };

    use tokio::sync::watch;

    use super::{Kit, Prepare, Probing, StartProbe, Ward};
    use crate::{
        connect::{Connect, Connection, Worker, subchannel::Lane},
        endpoint::{Endpoint, Verdict},
        probe::{self, Owner, Probe, Prober},
        stats::ChannelStats,
    };

    impl<C> Prepare<C> for Probe
    where
        C: Connect + Clone,
        C::Connection: Connection<probe::Body>,
    {
        fn prepare(self: Box<Self>, kit: Kit<'_, C>) -> StartProbe<C::Connection> {
            let open = probe::open_with(kit.connector.clone());
            let probing = probe::Probing::new(*self, open, kit.dials.clone(), kit.random.clone());
            start(probing, kit.worker.clone(), kit.stats.clone())
        }
    }

    fn start<C>(probing: Arc<probe::Probing>, worker: Worker, stats: Arc<ChannelStats>) -> StartProbe<C>
    where
        C: Connection<probe::Body>,
    {
        Arc::new(move |ward: Ward| {
            let (lender, borrower) = watch::channel(None);
            let borrower = probing.wants_data_connection().then_some(borrower);
            let (lends, endpoint) = (borrower.is_some(), ward.endpoint.clone());
            let own = Own { ward, stats: stats.clone(), calls: AtomicU64::new(0) };
            let prober = Prober::new(probing.clone(), own, borrower);
            let started = Probing::new(worker.spawn(prober.run()).abort_handle(), endpoint);
            if !lends {
                return started;
            }
            started.lend_to(move |lane: Option<&Lane<C>>| {
                lender.send_replace(lane.map(|lane| probe::lend(lane.connection.clone(), lane.gate.clone())));
            })
        })
    }

    /// The balancer as the owner of an endpoint.
    struct Own {
        ward: Ward,
        stats: Arc<ChannelStats>,
        /// How many calls had ended when it was last asked.
        calls: AtomicU64,
    }

    impl Owner for Own {
        fn endpoint(&self) -> Arc<Endpoint> {
            self.ward.endpoint.load_full()
        }

        fn has_traffic(&self) -> bool {
            let calls = self.stats.ended_calls();
            self.calls.swap(calls, Relaxed) != calls || self.ward.load.in_flight() > 0
        }

        fn report(&self, verdict: Option<Verdict>) {
            self.ward.verdicts.send(verdict);
        }
    }
}
