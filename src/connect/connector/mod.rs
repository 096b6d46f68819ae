//! From an endpoint to an HTTP/2 connection: dial, TLS, handshake, for each of its addresses until one gets through.
//!
//! ```
//! use grpc_balance::connect::{Connector, dial::Sockets};
//! use http::uri::Authority;
//!
//! # let runtime = tokio::runtime::Runtime::new()?;
//! # let _guard = runtime.enter();
//! let connector = Connector::builder(Authority::from_static("greeter.default.svc.cluster.local:50051"))
//!     .dial(Sockets::new().tcp_user_timeout(None))
//!     .build()?;
//! # let _ = connector;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod authority;
mod builder;
pub(super) mod failure;
mod ping_level;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::uri::{Authority, Scheme};
use tokio::runtime::Handle;

pub use self::builder::ConnectorBuilder;
use self::{authority::authority_of, ping_level::PingLevel};
#[cfg(feature = "tls")]
use crate::connect::tls::ClientConfig;
use crate::{
    connect::{
        Connect, Established, Worker,
        dial::{AttemptDelay, BoxDial, race},
        http2::{self, Http2, Http2Config},
    },
    endpoint::{Address, Endpoint},
    error::Error,
};

/// Makes HTTP/2 connections to endpoints. Cheap to clone.
///
/// The addresses of one endpoint race each other (Happy Eyeballs, gRFC A61), and an address has won when the peer's
/// SETTINGS have arrived: one that accepts TCP and then says nothing loses. When all fail, the error lists each address
/// with its cause.
///
/// After a GOAWAY with `too_many_pings` new connections wait twice as long before they ping (gRFC A8), all of this
/// connector's, whatever their endpoint.
#[derive(Clone, Debug)]
pub struct Connector {
    shared: Arc<Shared>,
    worker: Worker,
}

#[derive(Debug)]
struct Shared {
    authority: Authority,
    dial: BoxDial,
    #[cfg(feature = "tls")]
    tls: Option<ClientConfig>,
    http2: Http2Config,
    attempt_delay: AttemptDelay,
    ping_level: PingLevel,
}

impl Connector {
    /// Starts a connector to the endpoints of a target with this authority.
    ///
    /// Without more, it dials sockets in plaintext on the runtime of the caller.
    #[must_use]
    pub fn builder(authority: Authority) -> ConnectorBuilder {
        ConnectorBuilder::new(authority)
    }

    /// The same connector, whose connections live on another worker. Everything else is shared.
    #[must_use]
    pub fn on(&self, worker: Worker) -> Self {
        Self { shared: self.shared.clone(), worker }
    }

    /// Where its connections live.
    #[must_use]
    pub fn worker(&self) -> &Worker {
        &self.worker
    }
}

impl Connect for Connector {
    type Connection = Http2;
    type Future = Connecting;

    fn connect(&self, endpoint: &Arc<Endpoint>) -> Connecting {
        let (shared, endpoint) = (self.shared.clone(), endpoint.clone());
        let runtime = self.worker.runtime().clone();
        Connecting { runtime: runtime.clone(), attempt: Box::pin(shared.connect(endpoint, runtime)) }
    }
}

impl Shared {
    async fn connect(
        self: Arc<Self>,
        endpoint: Arc<Endpoint>,
        runtime: Handle,
    ) -> Result<Established<Http2>, Error> {
        let authority = authority_of(&endpoint, &self.authority)?;
        let attempt = |address| Box::pin(self.attempt(address, &endpoint, &authority, &runtime));
        let (established, level) = race(endpoint.addresses(), self.attempt_delay, attempt)
            .await
            .map_err(|failures| failure::of_all(&endpoint, failures))?;
        // It ends with the connection.
        runtime.spawn(self.ping_level.clone().watch(established.health.clone(), level));
        Ok(established)
    }

    async fn attempt(
        &self,
        address: Address,
        endpoint: &Arc<Endpoint>,
        authority: &Authority,
        runtime: &Handle,
    ) -> Result<(Established<Http2>, u32), Error> {
        let io = self.dial.dial(address).await.map_err(failure::of_dial)?;
        let level = self.ping_level.get();
        let config = ping_level::apply(level, &self.http2);
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let io = tls.handshake(io, authority.host()).await.map_err(|error| failure::of(error.into()))?;
            let (endpoint, authority) = (endpoint.clone(), authority.clone());
            let established = http2::handshake(io, endpoint, Scheme::HTTPS, authority, &config, runtime)
                .await
                .map_err(failure::of_handshake)?;
            return Ok((established, level));
        }
        let (endpoint, authority) = (endpoint.clone(), authority.clone());
        let established = http2::handshake(io, endpoint, Scheme::HTTP, authority, &config, runtime)
            .await
            .map_err(failure::of_handshake)?;
        Ok((established, level))
    }
}

/// An attempt of a [`Connector`]. Dropping it closes every socket that it opened.
#[must_use = "futures do nothing unless polled"]
pub struct Connecting {
    runtime: Handle,
    attempt: Pin<Box<dyn Future<Output = Result<Established<Http2>, Error>> + Send>>,
}

impl Future for Connecting {
    type Output = Result<Established<Http2>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Sockets and timers belong to the runtime in which they are made: the worker's, whoever polls.
        let this = &mut *self;
        let _guard = this.runtime.enter();
        this.attempt.as_mut().poll(cx)
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").finish_non_exhaustive()
    }
}
