//! The settings of a channel.

use std::{fmt, pin::Pin, time::Duration};

use http::{HeaderValue, uri::Authority};
use tokio::runtime::Handle;

#[cfg(feature = "tls")]
use crate::connect::tls;
#[cfg(feature = "dns")]
use crate::discover::DnsConfig;
use crate::{
    backoff::Backoff,
    balance::{self, Balance},
    channel::Channel,
    connect::{
        Connect, Connector, ConnectorBuilder, Worker,
        dial::{Dial, DialLimit},
        http2::Http2Config,
    },
    discover::{self, Fixed, Resolve},
    eject::Eject,
    error::{Error, Phase},
    grpc::{Classify, Code},
    health::Panic,
    policy::Policy,
    slow_start::SlowStart,
    target::Target,
};
#[cfg(feature = "probe")]
use crate::{connect::Connection, probe::Probe};

/// What the user agent of every call ends with.
const USER_AGENT: &str = concat!("grpc-balance/", env!("CARGO_PKG_VERSION"));

/// A channel that is being put together; see [`Channel::builder`].
///
/// Whatever is set is checked by [`build`](Self::build).
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    target: String,
    balance: balance::Builder<()>,
    connector: ConnectorBuilder,
    resolver: Option<Pin<Box<dyn Resolve>>>,
    #[cfg(feature = "probe")]
    probe: Option<Probe>,
    #[cfg(feature = "dns")]
    dns: DnsConfig,
    authority: Option<String>,
    user_agent: Option<String>,
    worker: Option<Worker>,
}

impl Builder {
    pub(crate) fn new(target: String) -> Self {
        let nothing = Box::pin(Fixed::new(Vec::<crate::endpoint::Endpoint>::new()));
        Self {
            balance: balance::Builder::new(nothing, ()).target(target.as_str()),
            target,
            connector: Connector::builder(Authority::from_static("localhost")),
            resolver: None,
            #[cfg(feature = "probe")]
            probe: None,
            #[cfg(feature = "dns")]
            dns: DnsConfig::new(),
            authority: None,
            user_agent: None,
            worker: None,
        }
    }

    /// Sets the policy. Default [`P2c::least_pending`](crate::policy::P2c::least_pending).
    pub fn policy(mut self, policy: impl Policy) -> Self {
        self.balance = self.balance.policy(policy);
        self
    }

    /// Sets a deadline for calls that bring none, or a later one. Default none: a deadline that the caller did not
    /// ask for would kill streams.
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.balance = self.balance.deadline(limit);
        self
    }

    /// Makes calls wait for ready unless they say otherwise with [`WaitForReady`](crate::WaitForReady). Default false:
    /// a call fails at once while there is no reason to expect an endpoint soon.
    pub fn wait_for_ready(mut self, wait: bool) -> Self {
        self.balance = self.balance.wait_for_ready(wait);
        self
    }

    /// Puts the application's name in front of the user agent, which ends with `grpc-balance/VERSION`.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = Some(user_agent.into());
        self
    }

    /// Overrides the `:authority` of calls, which TLS verifies as well. Default: the target's host and port. An
    /// endpoint's own host name goes before either.
    pub fn authority(mut self, authority: impl Into<String>) -> Self {
        self.authority = Some(authority.into());
        self
    }

    /// Bounds one connection attempt: TCP, TLS and the peer's SETTINGS. Default 5 s (Envoy's `connect_timeout`).
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.balance = self.balance.connect_timeout(limit);
        self
    }

    /// Sets how many connections an endpoint may have when its streams run out. Default 1, held between 1 and 10
    /// (gRFC A105).
    pub fn max_connections_per_endpoint(mut self, max: usize) -> Self {
        self.balance = self.balance.max_connections_per_endpoint(max);
        self
    }

    /// Sets the delays between attempts to connect to a failing endpoint. Default: gRPC's, from 1 s to 120 s.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.balance = self.balance.backoff(backoff);
        self
    }

    /// Cuts streams that are still open this long after their endpoint was removed. Default: never.
    pub fn drain_limit(mut self, limit: Duration) -> Self {
        self.balance = self.balance.drain_limit(limit);
        self
    }

    /// Bounds the connection attempts in flight at once; channels may share one limit. Default 64 for each channel.
    pub fn dial_limit(mut self, limit: DialLimit) -> Self {
        self.balance = self.balance.dial_limit(limit);
        self
    }

    /// Sets which call ends speak against an endpoint. Default: UNAVAILABLE and broken connections.
    pub fn classify(mut self, classify: Classify) -> Self {
        self.balance = self.balance.classify(classify);
        self
    }

    /// Registers methods (`package.Service/Method`) whose metrics go by their own name rather than by `other`.
    pub fn methods<M: Into<String>>(mut self, methods: impl IntoIterator<Item = M>) -> Self {
        self.balance = self.balance.methods(methods);
        self
    }

    /// Probes each endpoint, and calls only those whose verdict passes. Default: none, a connection is enough.
    ///
    /// An endpoint gets no calls before its first verdict. `probe::Grpc::watch` asks on the connection that carries
    /// the calls; the others have connections of their own, made with the channel's TLS and HTTP/2 settings.
    #[cfg(feature = "probe")]
    pub fn probe(mut self, probe: impl Into<Probe>) -> Self {
        self.probe = Some(probe.into());
        self
    }

    /// Ejects endpoints that serve worse than the others (gRFC A50, Envoy's outlier detection). Default: none.
    pub fn eject(mut self, eject: Eject) -> Self {
        self.balance = self.balance.eject(eject);
        self
    }

    /// Sets what happens when few endpoints are healthy. Default [`Panic::below`] 50 %, as Envoy's
    /// `healthy_panic_threshold`. Of use only with probes or ejection.
    pub fn panic(mut self, panic: Panic) -> Self {
        self.balance = self.balance.panic(panic);
        self
    }

    /// Lets the weight of an endpoint that is new among older ones grow over a window (Envoy's `slow_start_config`).
    /// Default: none.
    pub fn slow_start(mut self, slow_start: SlowStart) -> Self {
        self.balance = self.balance.slow_start(slow_start);
        self
    }

    /// Fixes the seed of every random decision, for tests. Default: seeded by the operating system.
    pub fn seed(mut self, seed: u64) -> Self {
        self.balance = self.balance.seed(seed);
        self
    }

    /// Secures connections with TLS. Default: plaintext.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: tls::ClientConfig) -> Self {
        self.connector = self.connector.tls(config);
        self
    }

    /// Sets windows, limits and keepalive of connections. Default: [`Http2Config::default`].
    pub fn http2(mut self, config: Http2Config) -> Self {
        self.connector = self.connector.http2(config);
        self
    }

    /// Opens byte streams with something else than sockets; see [`dial`](crate::connect::dial).
    pub fn dial(mut self, dial: impl Dial) -> Self {
        self.connector = self.connector.dial(dial);
        self
    }

    /// Sets how names are looked up. Default: [`DnsConfig::new`], which reads the system's `resolv.conf`.
    #[cfg(feature = "dns")]
    pub fn dns(mut self, config: DnsConfig) -> Self {
        self.dns = config;
        self
    }

    /// Finds endpoints by other means than the target's scheme. The target still gives the authority and its name in
    /// errors.
    pub fn resolver(mut self, resolver: impl Resolve) -> Self {
        self.resolver = Some(Box::pin(resolver));
        self
    }

    /// Runs the channel's tasks on this runtime. Default: the one that [`build`](Self::build) is called in.
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.worker = Some(Worker::new(runtime));
        self
    }

    /// Builds the channel. It never blocks and needs no live endpoint.
    ///
    /// # Errors
    ///
    /// INVALID_ARGUMENT names the target, authority, user agent or setting of [`eject`](Self::eject) that is wrong;
    /// FAILED_PRECONDITION when there is neither a runtime here nor one set.
    pub fn build(self) -> Result<Channel, Error> {
        let user_agent = match &self.user_agent {
            Some(own) => HeaderValue::try_from(format!("{own} {USER_AGENT}")).map_err(|error| {
                let message = format!("the user agent `{}` is no header value", own.escape_debug());
                Error::new(Code::InvalidArgument, Phase::Build, message).because(error)
            })?,
            None => HeaderValue::from_static(USER_AGENT),
        };
        Ok(Channel::new(self.build_balance(ConnectorBuilder::build)?.balance, user_agent))
    }

    /// Builds what sends the calls, over connections by this connector.
    #[cfg(feature = "probe")]
    pub(crate) fn build_balance<C>(
        self,
        connector: impl FnOnce(ConnectorBuilder) -> Result<C, Error>,
    ) -> Result<Built<C>, Error>
    where
        C: Connect + Clone,
        C::Connection: Connection<crate::probe::Body>,
    {
        let (probe, connector, builder) = self.balance(connector)?;
        Built::new(
            connector,
            match probe {
                Some(probe) => builder.probe(probe),
                None => builder,
            },
        )
    }

    /// Builds what sends the calls, over connections by this connector.
    #[cfg(not(feature = "probe"))]
    pub(crate) fn build_balance<C: Connect + Clone>(
        self,
        connector: impl FnOnce(ConnectorBuilder) -> Result<C, Error>,
    ) -> Result<Built<C>, Error> {
        let (_, connector, builder) = self.balance(connector)?;
        Built::new(connector, builder)
    }

    fn balance<C: Clone>(
        self,
        connector: impl FnOnce(ConnectorBuilder) -> Result<C, Error>,
    ) -> Result<(Option<Asked>, C, balance::Builder<C>), Error> {
        let target: Target = self.target.parse().map_err(|error: crate::target::ParseTargetError| {
            Error::new(Code::InvalidArgument, Phase::Build, error.to_string())
        })?;
        let worker = self.worker.map_or_else(Worker::current, Ok)?;
        let authority = parse_authority(self.authority.as_deref().unwrap_or(target.authority()))?;
        let resolver = match self.resolver {
            Some(resolver) => resolver,
            #[cfg(feature = "dns")]
            None => discover::for_target_with_dns(&target, &self.dns)?,
            #[cfg(not(feature = "dns"))]
            None => discover::for_target(&target)?,
        };
        let connector = connector(self.connector.authority(authority).worker(worker.clone()))?;
        #[cfg(feature = "probe")]
        let probe = self.probe;
        #[cfg(not(feature = "probe"))]
        let probe = None;
        Ok((probe, connector.clone(), self.balance.over(resolver, connector).worker(worker)))
    }
}

/// A balancer, and what it takes to build another like it.
pub(crate) struct Built<C: Connect> {
    pub(crate) balance: Balance<C>,
    #[cfg(feature = "proxy")]
    pub(crate) connector: C,
    #[cfg(feature = "proxy")]
    settings: std::sync::Mutex<balance::Builder<()>>,
}

impl<C: Connect> Built<C> {
    #[cfg(feature = "proxy")]
    fn new(connector: C, builder: balance::Builder<C>) -> Result<Self, Error> {
        let settings = builder.again().await_verdicts(builder.is_probed());
        Ok(Self { balance: builder.build()?, connector, settings: std::sync::Mutex::new(settings) })
    }

    /// Another balancer like it, which follows it, with connections by `connector`.
    #[cfg(feature = "proxy")]
    pub(crate) fn another(&self, connector: C, worker: Worker) -> Result<Balance<C>, Error> {
        let settings = self.settings.lock().unwrap_or_else(std::sync::PoisonError::into_inner).again();
        settings.over(Box::pin(self.balance.follow()), connector).worker(worker).build()
    }

    #[cfg(not(feature = "proxy"))]
    fn new(_connector: C, builder: balance::Builder<C>) -> Result<Self, Error> {
        Ok(Self { balance: builder.build()? })
    }
}

#[cfg(feature = "probe")]
type Asked = Probe;
/// Nothing can be asked for.
#[cfg(not(feature = "probe"))]
type Asked = std::convert::Infallible;

fn parse_authority(authority: &str) -> Result<Authority, Error> {
    authority.parse().map_err(|error: http::uri::InvalidUri| {
        let message = format!("`{authority}` is no authority: expected HOST or HOST:PORT");
        Error::new(Code::InvalidArgument, Phase::Build, message).because(error)
    })
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("balance", &self.balance).finish_non_exhaustive()
    }
}
