//! The settings of a balancer.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::{Notify, oneshot, watch};

use crate::{
    backoff::Backoff,
    balance::{
        Balance,
        checks::{self, Checks},
        control::Control,
        plane::Plane,
        probing::{Kit, Prepare},
        published::Published,
        shared::{Core, Observer, Shared},
        snapshot::{Choice, Snapshot},
        state::Connectivity,
    },
    connect::{Connect, Room, Worker, dial::DialLimit, subchannel},
    discover::Resolve,
    eject::Eject,
    error::Error,
    grpc::Classify,
    health::{Health, Panic},
    load::SetLoad,
    metrics::Mirror,
    policy::{P2c, Policy},
    random::Random,
    slow_start::SlowStart,
    stats::{ChannelState, ChannelStats},
};

/// A balancer that is being put together; see [`Balance::builder`].
#[must_use = "a builder does nothing until `build`"]
pub struct Builder<C> {
    resolver: std::pin::Pin<Box<dyn Resolve>>,
    connector: C,
    target: Arc<str>,
    policy: Arc<dyn Policy>,
    settings: subchannel::Settings,
    dials: DialLimit,
    deadline: Option<Duration>,
    wait_for_ready: bool,
    classify: Classify,
    methods: Vec<String>,
    checks: checks::Settings,
    probe: Option<Box<dyn Prepare<C>>>,
    random: Random,
    worker: Option<Worker>,
}

impl<C> Builder<C> {
    pub(crate) fn new(resolver: std::pin::Pin<Box<dyn Resolve>>, connector: C) -> Self {
        Self {
            resolver,
            connector,
            target: Arc::from("endpoints"),
            policy: Arc::new(P2c::least_pending()),
            settings: subchannel::Settings {
                connect_timeout: Duration::from_secs(5),
                max_connections: 1,
                backoff: Backoff::default(),
                drain_limit: None,
            },
            dials: DialLimit::default(),
            deadline: None,
            wait_for_ready: false,
            classify: Classify::default(),
            methods: Vec::new(),
            checks: checks::Settings::default(),
            probe: None,
            random: Random::from_os(),
            worker: None,
        }
    }

    /// The same settings, but for the probe, over another resolver and other connections.
    pub(crate) fn over<D>(self, resolver: std::pin::Pin<Box<dyn Resolve>>, connector: D) -> Builder<D> {
        let Self {
            target,
            policy,
            settings,
            dials,
            deadline,
            wait_for_ready,
            classify,
            methods,
            checks,
            random,
            worker,
            ..
        } = self;
        Builder {
            resolver,
            connector,
            target,
            policy,
            settings,
            dials,
            deadline,
            wait_for_ready,
            classify,
            methods,
            checks,
            probe: None,
            random,
            worker,
        }
    }

    /// The same settings for another balancer: but for the resolver, the probe, the worker and the seed.
    #[cfg(feature = "proxy")]
    pub(crate) fn again(&self) -> Builder<()> {
        let nothing = crate::discover::Fixed::new(Vec::<crate::endpoint::Endpoint>::new());
        Builder {
            target: self.target.clone(),
            policy: self.policy.clone(),
            settings: self.settings.clone(),
            dials: self.dials.clone(),
            deadline: self.deadline,
            wait_for_ready: self.wait_for_ready,
            classify: self.classify.clone(),
            methods: self.methods.clone(),
            checks: self.checks.clone(),
            ..Builder::new(Box::pin(nothing), ())
        }
    }

    /// Whether endpoints are probed.
    #[cfg(feature = "proxy")]
    pub(crate) fn is_probed(&self) -> bool {
        self.probe.is_some()
    }

    /// Names the target in errors, logs and metrics. Default `endpoints`.
    pub fn target(mut self, target: impl Into<Arc<str>>) -> Self {
        self.target = target.into();
        self
    }

    /// Sets the policy. Default [`P2c::least_pending`], which needs no tuning and avoids the slow and the stuck.
    pub fn policy(mut self, policy: impl Policy) -> Self {
        self.policy = Arc::new(policy);
        self
    }

    /// Bounds one connection attempt: all addresses of the endpoint, TLS and the peer's SETTINGS. Default 5 s, as
    /// Envoy's `connect_timeout`; gRPC's 20 s would let black holes fill the slots for dialling.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.settings.connect_timeout = limit;
        self
    }

    /// Sets how many connections an endpoint may have when its streams run out. Default 1, at most 10, at least 1
    /// (gRFC A105's `maxConnectionsPerSubchannel`).
    pub fn max_connections_per_endpoint(mut self, max: usize) -> Self {
        self.settings.max_connections = max.clamp(1, 10);
        self
    }

    /// Sets the delays between attempts to connect to a failing endpoint. Default: gRPC's, from 1 s to 120 s.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.settings.backoff = backoff;
        self
    }

    /// Cuts streams that are still open this long after their endpoint was removed. Default: never.
    pub fn drain_limit(mut self, limit: Duration) -> Self {
        self.settings.drain_limit = Some(limit);
        self
    }

    /// Bounds the connection attempts in flight at once; several balancers may share one limit. Default: 64 at once.
    pub fn dial_limit(mut self, limit: DialLimit) -> Self {
        self.dials = limit;
        self
    }

    /// Sets a deadline for calls that bring none, or a later one. Default none: a deadline that the caller did not
    /// ask for would kill streams.
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = Some(limit);
        self
    }

    /// Makes calls wait for ready unless they say otherwise with [`WaitForReady`](crate::WaitForReady). Default false.
    pub fn wait_for_ready(mut self, wait: bool) -> Self {
        self.wait_for_ready = wait;
        self
    }

    /// Sets which call ends speak against an endpoint. Default [`Classify::default`].
    pub fn classify(mut self, classify: Classify) -> Self {
        self.classify = classify;
        self
    }

    /// Registers methods (`package.Service/Method`) whose metrics go by their own name. All others go by `other`, so
    /// that callers cannot make up time series (gRFC A66). Default: none. Of use only with the feature `metrics`.
    pub fn methods<M: Into<String>>(mut self, methods: impl IntoIterator<Item = M>) -> Self {
        self.methods.extend(methods.into_iter().map(Into::into));
        self
    }

    /// Ejects endpoints that serve worse than the others (gRFC A50, Envoy's outlier detection). Default: none.
    ///
    /// [`build`](Self::build) checks the settings.
    pub fn eject(mut self, eject: Eject) -> Self {
        self.checks.eject = Some(eject);
        self
    }

    /// Sets what happens when few endpoints are healthy. Default [`Panic::below`] 50 %, as Envoy's
    /// `healthy_panic_threshold`: then health is ignored, since so many cannot be unwell at once, or else those few
    /// would be overrun.
    pub fn panic(mut self, panic: Panic) -> Self {
        self.checks.panic = panic;
        self
    }

    /// Lets the weight of an endpoint that is new among older ones grow over a window (Envoy's `slow_start_config`).
    /// Default: none, a new endpoint gets its full share at once.
    pub fn slow_start(mut self, slow_start: SlowStart) -> Self {
        self.checks.slow_start = Some(slow_start);
        self
    }

    /// Probes each endpoint, and calls only those whose verdict passes. Default: none, a connection is enough.
    ///
    /// An endpoint gets no calls before its first verdict.
    #[cfg(feature = "probe")]
    pub fn probe(mut self, probe: impl Into<crate::probe::Probe>) -> Self
    where
        C: Connect + Clone,
        C::Connection: crate::connect::Connection<crate::probe::Body>,
    {
        self.probe = Some(Box::new(probe.into()));
        self
    }

    /// Makes endpoints wait for a verdict that [comes with them](crate::endpoint::Endpoint::with_verdict), as
    /// `probe::Probed` attaches it. Default false: one without a verdict is fit for calls. A failing verdict counts
    /// either way.
    pub fn await_verdicts(mut self, wait: bool) -> Self {
        self.checks.await_verdicts = wait;
        self
    }

    #[cfg(test)]
    pub(crate) fn prepare(mut self, probe: impl Prepare<C> + 'static) -> Self {
        self.probe = Some(Box::new(probe));
        self
    }

    /// Fixes the seed of every random decision, for tests. Default: seeded by the operating system.
    pub fn seed(mut self, seed: u64) -> Self {
        self.random = Random::seeded(seed);
        self
    }

    /// Runs the control task and the connections on this worker. Default: the runtime that `build` is called in.
    pub fn worker(mut self, worker: Worker) -> Self {
        self.worker = Some(worker);
        self
    }

    /// Starts the balancer. It never blocks and needs no live endpoint.
    ///
    /// # Errors
    ///
    /// FAILED_PRECONDITION when called outside a tokio runtime without [`worker`](Self::worker); INVALID_ARGUMENT
    /// names the setting of [`eject`](Self::eject) that is out of range.
    pub fn build(self) -> Result<Balance<C>, Error>
    where
        C: Connect,
    {
        let worker = match self.worker {
            Some(worker) => worker,
            None => Worker::current()?,
        };
        let stats = Arc::new(ChannelStats::default());
        let (handle, handles) = oneshot::channel();
        let random = Arc::new(self.random);
        let room = Arc::<Room>::default();
        let mirror = Arc::new(Mirror::new(self.target.clone(), &self.methods));
        let (reporter, health) = Health::new(self.target.clone());
        let probe = self.probe.map(|probe| {
            probe.prepare(Kit {
                connector: &self.connector,
                worker: &worker,
                dials: &self.dials,
                random: &random,
                stats: &stats,
            })
        });
        let (checks, watcher) =
            Checks::new(self.checks, probe, reporter, stats.clone(), self.target.clone())?;
        let shared = Arc::new(Shared {
            target: self.target,
            published: Published::new(Snapshot::without_endpoints(Choice::Wait, 0)),
            plane: Mutex::new(Plane::default()),
            room: room.clone(),
            demand: Notify::new(),
            random: random.clone(),
            set_load: Arc::<SetLoad>::default(),
            stats: stats.clone(),
            discovery: self.resolver.status(),
            mirror: mirror.clone(),
            connectivity: watch::Sender::new(Connectivity::new(ChannelState::Idle, 0, 0, None)),
            health,
            #[cfg(feature = "proxy")]
            found: watch::Sender::new(None),
            deadline: self.deadline,
            wait_for_ready: self.wait_for_ready,
            may_grow: self.settings.max_connections > 1,
            runtime: worker.runtime().clone(),
        });
        let connections = subchannel::Shared {
            connector: self.connector,
            settings: self.settings,
            dials: self.dials,
            room,
            random,
            mirror: mirror.clone(),
        };
        let control = Control::new(
            shared.clone(),
            connections,
            self.policy,
            self.resolver,
            worker.clone(),
            checks,
            handles,
        );
        worker.spawn(control.run());
        let observer =
            Arc::new(Observer { classify: self.classify, stats, mirror, watcher, _handle: handle });
        Ok(Balance { core: Arc::new(Core { shared, observer }) })
    }
}

impl<C> fmt::Debug for Builder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("target", &self.target)
            .field("policy", &self.policy.name())
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
