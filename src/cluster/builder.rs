//! The settings of a cluster.

use std::{sync::Arc, time::Duration};

use http::uri::Authority;
use tokio::runtime::Handle;

use super::{
    Cluster,
    head::Rules,
    limits::Limits,
    workers::{Control, Workers},
};
#[cfg(feature = "tls")]
use crate::connect::tls;
#[cfg(feature = "dns")]
use crate::discover::DnsConfig;
#[cfg(feature = "probe")]
use crate::probe::Probe;
use crate::{
    channel,
    connect::{
        ConnectorBuilder,
        dial::{Dial, DialLimit},
        http2::Http2Config,
    },
    discover::Resolve,
    eject::Eject,
    error::{Error, Phase},
    grpc::{Classify, Code},
    health::Panic,
    policy::Policy,
    random::Random,
    slow_start::SlowStart,
};

/// A cluster that is being put together; see [`Cluster::builder`].
///
/// What concerns endpoints is set as for a [`Channel`](crate::Channel), and documented at
/// [`channel::Builder`](crate::channel::Builder).
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    name: Arc<str>,
    channel: channel::Builder,
    http1: bool,
    authority: Option<String>,
    forwarded_for: bool,
    refuse_unprocessed: bool,
    max_requests: usize,
    max_waiting: u64,
}

/// Setters that are the channel's.
macro_rules! as_for_a_channel {
    ($($(#[$attribute:meta])* $name:ident($($argument:ident: $type:ty),*);)*) => {
        impl Builder {
            $(
                #[doc = concat!("As [`channel::Builder::", stringify!($name), "`].")]
                $(#[$attribute])*
                pub fn $name(mut self, $($argument: $type),*) -> Self {
                    self.channel = self.channel.$name($($argument),*);
                    self
                }
            )*
        }
    };
}

as_for_a_channel! {
    policy(policy: impl Policy);
    connect_timeout(limit: Duration);
    max_connections_per_endpoint(max: usize);
    backoff(backoff: crate::backoff::Backoff);
    drain_limit(limit: Duration);
    dial_limit(limit: DialLimit);
    classify(classify: Classify);
    deadline(limit: Duration);
    #[cfg(feature = "probe")]
    probe(probe: impl Into<Probe>);
    eject(eject: Eject);
    panic(panic: Panic);
    slow_start(slow_start: SlowStart);
    methods(methods: impl IntoIterator<Item = impl Into<String>>);
    seed(seed: u64);
    #[cfg(feature = "tls")]
    tls(config: tls::ClientConfig);
    http2(config: Http2Config);
    dial(dial: impl Dial);
    #[cfg(feature = "dns")]
    dns(config: DnsConfig);
    resolver(resolver: impl Resolve);
    runtime(runtime: Handle);
}

impl Builder {
    pub(super) fn new(name: Arc<str>, target: String) -> Self {
        Self {
            name,
            channel: channel::Builder::new(target),
            http1: false,
            authority: None,
            forwarded_for: false,
            refuse_unprocessed: false,
            max_requests: 1_024,
            max_waiting: 1_024,
        }
    }

    /// Speaks HTTP/1.1 to the endpoints, in plaintext: for a REST application behind a sidecar. Default: HTTP/2.
    pub fn http1(mut self) -> Self {
        self.http1 = true;
        self
    }

    /// Sends this `:authority` instead of the caller's (Envoy's `host_rewrite_literal`). Default: the caller's, or
    /// without one the target's.
    pub fn rewrite_authority(mut self, authority: impl Into<String>) -> Self {
        self.authority = Some(authority.into());
        self
    }

    /// Appends the caller's IP address to `x-forwarded-for` (Envoy's `use_remote_address`). Default false.
    pub fn forwarded_for(mut self, append: bool) -> Self {
        self.forwarded_for = append;
        self
    }

    /// Refuses requests over HTTP/2 that provably no endpoint has processed, with RST_STREAM REFUSED_STREAM, instead of
    /// answering them: the proxy in front then goes elsewhere and loses nothing. For the ingress of a sidecar, behind
    /// which there is one application. Default false: callers at the edge rather read a status.
    pub fn refuse_unprocessed(mut self, refuse: bool) -> Self {
        self.refuse_unprocessed = refuse;
        self
    }

    /// Bounds the requests that are forwarded at once (Envoy's `max_requests`). Default 1 024, as Envoy.
    pub fn max_requests(mut self, max: usize) -> Self {
        self.max_requests = max;
        self
    }

    /// Bounds the requests that wait for an endpoint (Envoy's `max_pending_requests`). Default 1 024, as Envoy.
    pub fn max_waiting_requests(mut self, max: u64) -> Self {
        self.max_waiting = max;
        self
    }

    /// Builds the cluster. It never blocks and needs no live endpoint.
    ///
    /// # Errors
    ///
    /// As [`channel::Builder::build`](crate::channel::Builder::build), and INVALID_ARGUMENT for a malformed authority.
    pub fn build(self) -> Result<Cluster, Error> {
        let authority = match self.authority.as_deref().map(str::parse::<Authority>).transpose() {
            Ok(authority) => authority,
            Err(error) => {
                let authority = self.authority.unwrap_or_default();
                let message = format!("`{authority}` is no authority: expected HOST or HOST:PORT");
                return Err(Error::new(Code::InvalidArgument, Phase::Build, message).because(error));
            }
        };
        let rules = Rules {
            authority,
            forwarded_for: self.forwarded_for,
            refuse_unprocessed: self.refuse_unprocessed,
            random: Random::from_os(),
        };
        let workers = Workers::new(if self.http1 {
            Control::Http1(self.channel.build_balance(ConnectorBuilder::build_http1)?)
        } else {
            Control::Http2(self.channel.build_balance(ConnectorBuilder::build)?)
        });
        Ok(Cluster {
            upstream: workers.own(),
            workers: Arc::new(workers),
            name: self.name,
            rules: Arc::new(rules),
            limits: Arc::new(Limits::new(self.max_requests, self.max_waiting)),
        })
    }
}
