use std::{sync::Arc, time::Duration};

use http::uri::Authority;

use super::{Connector, PingLevel, Shared};
#[cfg(feature = "tls")]
use crate::connect::tls::ClientConfig;
use crate::{
    connect::{
        Worker,
        dial::{AttemptDelay, BoxDial, Dial, Sockets},
        http2::Http2Config,
    },
    error::Error,
};
#[cfg(all(feature = "proxy", feature = "tls"))]
use crate::{error::Phase, grpc::Code};

/// Builds a [`Connector`].
#[derive(Clone, Debug)]
pub struct ConnectorBuilder {
    authority: Authority,
    dial: BoxDial,
    #[cfg(feature = "tls")]
    tls: Option<ClientConfig>,
    http2: Http2Config,
    attempt_delay: AttemptDelay,
    worker: Option<Worker>,
}

impl ConnectorBuilder {
    pub(crate) fn new(authority: Authority) -> Self {
        Self {
            authority,
            dial: BoxDial::new(Sockets::new()),
            #[cfg(feature = "tls")]
            tls: None,
            http2: Http2Config::default(),
            attempt_delay: AttemptDelay::default(),
            worker: None,
        }
    }

    /// Dials with something else than [`Sockets`] with their defaults. See [`dial`](crate::connect::dial).
    #[must_use]
    pub fn dial(mut self, dial: impl Dial) -> Self {
        self.dial = BoxDial::new(dial);
        self
    }

    /// Secures connections with TLS; calls then have the scheme `https`. Default: plaintext, prior-knowledge HTTP/2.
    ///
    /// The name to verify is the host of the endpoint's authority, unless the configuration
    /// [pins](crate::connect::tls::Builder::server_name) another.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, config: ClientConfig) -> Self {
        self.tls = Some(config);
        self
    }

    /// Sets windows, limits and keepalive. Default: [`Http2Config::default`].
    #[must_use]
    pub fn http2(mut self, config: Http2Config) -> Self {
        self.http2 = config;
        self
    }

    /// Overrides the target's authority in calls and for TLS. An endpoint's own
    /// [host name](crate::endpoint::Endpoint::host_name) still goes first, with the target's port unless it has one.
    #[must_use]
    pub fn authority(mut self, authority: Authority) -> Self {
        self.authority = authority;
        self
    }

    /// Sets how long an address has before the endpoint's next one is tried beside it. Default 250 ms; held between
    /// 100 ms and 2 s (gRFC A61, RFC 8305).
    #[must_use]
    pub fn attempt_delay(mut self, delay: Duration) -> Self {
        self.attempt_delay = AttemptDelay::new(delay);
        self
    }

    /// Sets where connections live. Default: the runtime in which [`build`](Self::build) is called.
    #[must_use]
    pub fn worker(mut self, worker: Worker) -> Self {
        self.worker = Some(worker);
        self
    }

    /// Builds a connector for HTTP/1.1 of the same authority, dialler and worker. It makes no connection.
    ///
    /// # Errors
    ///
    /// FAILED_PRECONDITION when no worker was set and there is no runtime here, or when TLS was asked for, which there
    /// is none of for HTTP/1.1.
    #[cfg(feature = "proxy")]
    pub fn build_http1(self) -> Result<crate::connect::http1::Http1Connector, Error> {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            let message = "HTTP/1.1 endpoints are spoken to in plaintext: TLS cannot be asked for";
            return Err(Error::new(Code::FailedPrecondition, Phase::Build, message));
        }
        let worker = self.worker.map_or_else(Worker::current, Ok)?;
        Ok(crate::connect::http1::Http1Connector::new(self.authority, self.dial, self.attempt_delay, worker))
    }

    /// Builds the connector. It makes no connection.
    ///
    /// # Errors
    ///
    /// FAILED_PRECONDITION when no worker was set and there is no runtime here.
    pub fn build(self) -> Result<Connector, Error> {
        let worker = self.worker.map_or_else(Worker::current, Ok)?;
        let shared = Shared {
            authority: self.authority,
            dial: self.dial,
            #[cfg(feature = "tls")]
            tls: self.tls,
            http2: self.http2,
            attempt_delay: self.attempt_delay,
            ping_level: PingLevel::default(),
        };
        Ok(Connector { shared: Arc::new(shared), worker })
    }
}
