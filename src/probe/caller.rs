//! Calls of a probe, on a connection of any kind.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use tokio::sync::watch;

use crate::{
    connect::{Connect, Connection, ConnectionState, Gate, Replay, SendError},
    endpoint::Endpoint,
    error::Error,
};

/// The body of a probe's request. A [`Connection`] that carries it can be probed.
#[derive(Clone, Debug, Default)]
pub struct Body(Full<Bytes>);

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(Full::new(bytes))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// An established connection that a probe may use.
pub(crate) trait Caller: Send + Sync {
    /// Sends one request. Dropping the future, or the body of its response, cancels the call.
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Reply>, CallError>>;
}

/// The body of a response, of whatever connection.
pub(crate) type Reply = UnsyncBoxBody<Bytes, Error>;

/// Why a call got no response.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The connection takes no more calls, and the peer did not process this one: it is no sign of ill health.
    Gone(Error),
    /// Anything else.
    Failed(Error),
}

/// A connection that was just opened for a probe.
pub(crate) struct Opened {
    pub(super) caller: Arc<dyn Caller>,
    pub(super) state: watch::Receiver<ConnectionState>,
}

/// Opens connections for probes.
pub(crate) type Open = Arc<dyn Fn(&Arc<Endpoint>) -> BoxFuture<'static, Result<Opened, Error>> + Send + Sync>;

/// Probes then have connections of their own, made as those for calls are.
pub(crate) fn open_with<C>(connector: C) -> Open
where
    C: Connect,
    C::Connection: Connection<Body>,
{
    Arc::new(move |endpoint| {
        let connecting = connector.connect(endpoint);
        Box::pin(async move {
            let established = connecting.await?;
            let state = established.health().clone();
            let caller = lend(established.connection().clone(), Arc::new(Gate::unlimited()));
            Ok(Opened { caller, state })
        })
    })
}

/// Lends a connection that carries calls to a probe.
pub(crate) fn lend<C: Connection<Body>>(connection: Arc<C>, gate: Arc<Gate>) -> Arc<dyn Caller> {
    Arc::new(Lent { connection, gate, beyond: Arc::new(Gate::unlimited()) })
}

struct Lent<C> {
    connection: Arc<C>,
    gate: Arc<Gate>,
    /// An endpoint that is full of calls is not ill. A probe then goes out with a permit that does not count, and
    /// HTTP/2 queues it until a stream ends.
    beyond: Arc<Gate>,
}

impl<C: Connection<Body>> Caller for Lent<C> {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Reply>, CallError>> {
        let permit = self.gate.try_acquire().or_else(|| self.beyond.try_acquire());
        let sent = permit.map(|permit| self.connection.send(request.map(Replay::new), permit));
        Box::pin(async move {
            // The second gate always has a permit.
            let Some(sent) = sent else { return std::future::pending().await };
            match sent.await {
                Ok(response) => Ok(response.map(BodyExt::boxed_unsync)),
                Err(SendError::Unsent(error, _) | SendError::Refused { error, going_away: true, .. }) => {
                    Err(CallError::Gone(error))
                }
                Err(SendError::Refused { error, .. } | SendError::Failed(error)) => {
                    Err(CallError::Failed(error))
                }
            }
        })
    }
}
