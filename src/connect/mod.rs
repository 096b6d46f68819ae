//! Connections: from an endpoint to something that carries calls.

pub mod connector;
pub mod dial;
pub mod gate;
pub(crate) mod hop;
#[cfg(feature = "proxy")]
pub mod http1;
pub mod http2;
pub mod keepalive;
mod replay;
pub(crate) mod subchannel;
#[cfg(feature = "tls")]
pub mod tls;
mod worker;

use std::{fmt, future::Future, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use tokio::sync::watch;

pub use self::{
    connector::{Connecting, Connector, ConnectorBuilder},
    gate::{Gate, Permit, Room, Waiting},
    keepalive::Keepalive,
    replay::Replay,
    worker::Worker,
};
use crate::{
    endpoint::Endpoint,
    error::{BoxError, Error},
    stats::Disconnect,
};

/// Makes connections to endpoints.
pub trait Connect: Send + Sync + 'static {
    /// What it makes.
    type Connection: Send + Sync + 'static;
    /// The attempt. Dropping it gives the attempt up.
    type Future: Future<Output = Result<Established<Self::Connection>, Error>> + Send + 'static;

    /// Starts one attempt. It resolves when the connection can carry calls: for HTTP/2, when the peer's SETTINGS
    /// have arrived. The caller bounds its time.
    fn connect(&self, endpoint: &Arc<Endpoint>) -> Self::Future;
}

/// A connection that was just made.
pub struct Established<C> {
    pub(crate) connection: Arc<C>,
    pub(crate) health: watch::Receiver<ConnectionState>,
    pub(crate) cut: Option<Cut>,
}

/// Ends a connection and all its streams, because of this.
pub(crate) type Cut = Box<dyn FnOnce(Error) + Send + Sync>;

impl<C> Established<C> {
    /// A connection, and the news of it.
    ///
    /// It closes when the last clone of the `Arc` and the last stream are gone. The sender of `health` is dropped when
    /// it has closed.
    #[must_use]
    pub fn new(connection: Arc<C>, health: watch::Receiver<ConnectionState>) -> Self {
        Self { connection, health, cut: None }
    }

    /// Says how to end the connection and all its streams at once, which then fail because of the given error. It
    /// must not keep the connection open. Without it, draining cannot be cut short.
    #[must_use]
    pub fn cut_by(mut self, cut: impl FnOnce(Error) + Send + Sync + 'static) -> Self {
        self.cut = Some(Box::new(cut));
        self
    }

    /// What carries calls.
    #[must_use]
    pub fn connection(&self) -> &Arc<C> {
        &self.connection
    }

    /// What becomes of the connection.
    #[must_use]
    pub fn health(&self) -> &watch::Receiver<ConnectionState> {
        &self.health
    }
}

impl<C> fmt::Debug for Established<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Established").field("health", &*self.health.borrow()).finish_non_exhaustive()
    }
}

/// What is known of an established connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConnectionState {
    /// It takes new calls, up to this many at once.
    Open {
        /// The peer's SETTINGS_MAX_CONCURRENT_STREAMS, `usize::MAX` if it did not say.
        max_streams: usize,
    },
    /// The peer said GOAWAY: no new calls, those in flight may finish.
    GoingAway {
        /// The peer's complaint about our keepalive: double its interval (gRFC A8).
        too_many_pings: bool,
        /// The reason, for logs.
        cause: Error,
    },
    /// It is gone.
    Closed {
        /// What ended it first; a GOAWAY goes before the closing that follows it.
        reason: Disconnect,
        /// As in [`GoingAway`](Self::GoingAway), which is skipped when nothing was in flight.
        too_many_pings: bool,
        /// Why.
        cause: Error,
    },
}

/// A connection that can carry calls whose request body is a `B`.
pub trait Connection<B>: Send + Sync + 'static {
    /// The body of the response.
    type Body: http_body::Body<Data = Bytes, Error = Error> + Send + 'static;
    /// The call, up to the response's headers. Dropping it cancels the call.
    type Future: Future<Output = Result<Response<Self::Body>, SendError<B>>> + Send + 'static;

    /// Sends a call on a stream that the permit has reserved. The permit must be held until both halves of the
    /// stream are gone.
    fn send(self: &Arc<Self>, request: Request<Replay<B>>, permit: Permit) -> Self::Future;
}

/// Why a call got no response headers.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError<B> {
    /// Nothing left the process: any call may be picked again, freely.
    Unsent(Error, Request<Replay<B>>),
    /// The peer provably did not process the call. The request is there if its body can be replayed.
    Refused {
        /// What the peer said.
        error: Error,
        /// The request, unless more of its body is gone than was kept.
        request: Option<Request<Replay<B>>>,
        /// Whether the connection is going away (GOAWAY), rather than the one stream being refused (REFUSED_STREAM).
        going_away: bool,
    },
    /// Anything else. The peer may have acted on the call.
    Failed(Error),
}

/// The errors of request bodies.
pub trait RequestBody: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static {}
impl<B> RequestBody for B where B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static {}
