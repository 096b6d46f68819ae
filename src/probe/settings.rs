use std::time::Duration;

use crate::{
    health::Thresholds,
    probe::{Grpc, Http, Tcp},
};

/// What to ask endpoints, and when. See the [module docs](crate::probe).
///
/// A [`Grpc`], [`Http`] or [`Tcp`] becomes a probe with the defaults below by `Probe::from`.
#[derive(Clone, Debug)]
pub struct Probe {
    pub(super) check: Check,
    pub(super) port: Option<u16>,
    pub(super) timeout: Duration,
    pub(super) initial_jitter: Duration,
    pub(super) interval: Duration,
    pub(super) jitter: Duration,
    pub(super) interval_without_traffic: Option<Duration>,
    pub(super) interval_while_unhealthy: Option<Duration>,
    pub(super) thresholds: Thresholds,
}

#[derive(Clone, Debug)]
pub(super) enum Check {
    Grpc(Grpc),
    Http(Http),
    Tcp(Tcp),
}

/// No setting of zero turns a probe into a busy loop.
const SHORTEST: Duration = Duration::from_millis(1);

impl Probe {
    fn new(check: Check) -> Self {
        Self {
            check,
            port: None,
            timeout: Duration::from_secs(1),
            initial_jitter: Duration::ZERO,
            interval: Duration::from_secs(5),
            jitter: Duration::from_secs(1),
            interval_without_traffic: None,
            interval_while_unhealthy: None,
            thresholds: Thresholds::default(),
        }
    }

    /// Sets how long one check may take, connecting included. Default 1 s; at least 1 ms. gRPC servers are told it as
    /// `grpc-timeout`.
    ///
    /// To a [`Grpc::watch`] it is the time until the first word: a server that says nothing for that long is failing
    /// until it speaks.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.max(SHORTEST);
        self
    }

    /// Sets the pause between the end of a check and the start of the next. Default 5 s; at least 1 ms. A
    /// [`Grpc::watch`] has none.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(SHORTEST);
        self
    }

    /// Sets how much is added to each pause, at random between nothing and this (Envoy's `interval_jitter`). Default
    /// 1 s. Many clients of one server then do not keep asking it in the same instant.
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets how long the first check of an endpoint may be put off, at random between nothing and this (Envoy's
    /// `initial_jitter`). Default zero: an endpoint gets no calls before its first check. Set it where thousands of
    /// clients start at once.
    #[must_use]
    pub fn initial_jitter(mut self, jitter: Duration) -> Self {
        self.initial_jitter = jitter;
        self
    }

    /// Sets the pause while no calls go to the cluster (Envoy's `no_traffic_interval`). Default: the interval.
    ///
    /// Envoy's 60 s let an endpoint that died before the first call go unnoticed for more than a minute. Here a long
    /// pause ends early once there are calls: they are looked for as often as the interval says.
    #[must_use]
    pub fn interval_without_traffic(mut self, interval: Duration) -> Self {
        self.interval_without_traffic = Some(interval.max(SHORTEST));
        self
    }

    /// Sets the pause while the endpoint's verdict is failing (Envoy's `unhealthy_interval`). Default: as for others.
    #[must_use]
    pub fn interval_while_unhealthy(mut self, interval: Duration) -> Self {
        self.interval_while_unhealthy = Some(interval.max(SHORTEST));
        self
    }

    /// Sets how many findings in a row change a verdict. Default [`Thresholds::default`]. What a server says itself
    /// counts at once, so that a [`Grpc::watch`] has no use for them.
    #[must_use]
    pub fn thresholds(mut self, thresholds: Thresholds) -> Self {
        self.thresholds = thresholds;
        self
    }

    /// Asks at another port of the endpoint's IP addresses (Envoy's `health_check_config.port_value`). Default: the
    /// endpoint's own. Checks on the connection that carries calls stay there.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }
}

impl From<Grpc> for Probe {
    fn from(check: Grpc) -> Self {
        Self::new(Check::Grpc(check))
    }
}

impl From<Http> for Probe {
    fn from(check: Http) -> Self {
        Self::new(Check::Http(check))
    }
}

impl From<Tcp> for Probe {
    fn from(check: Tcp) -> Self {
        Self::new(Check::Tcp(check))
    }
}
