//! The service that generated clients call.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::USER_AGENT};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project::pin_project;
use tokio::{sync::watch, time::timeout};
use tower_service::Service;

use crate::{
    balance::{self, Balance, Connectivity},
    channel::Builder,
    connect::{Connector, RequestBody, http2},
    error::{Error, Phase},
    grpc::Code,
    health::Health,
    stats::{ChannelState, Snapshot},
};

/// A balanced channel to one target. Cheap to clone; all clones share the connections.
///
/// See the [module docs](crate::channel).
#[derive(Clone, Debug)]
pub struct Channel {
    balance: Balance<Connector>,
    user_agent: HeaderValue,
}

impl Channel {
    /// Starts to build a channel to `target`: `dns:///host:port`, `dns://server/host:port`, `ipv4:`, `ipv6:`,
    /// `unix:`, or `host:port`, which means DNS.
    pub fn builder(target: impl Into<String>) -> Builder {
        Builder::new(target.into())
    }

    pub(crate) fn new(balance: Balance<Connector>, user_agent: HeaderValue) -> Self {
        Self { balance, user_agent }
    }

    /// Waits until at least `endpoints` endpoints are ready, for start-up.
    ///
    /// # Errors
    ///
    /// DEADLINE_EXCEEDED when that takes longer than `limit`, UNAVAILABLE when the channel's runtime has shut down;
    /// the latest obstacle is the cause ([`Error::report`] shows it).
    pub async fn ready(&self, endpoints: usize, limit: Duration) -> Result<(), Error> {
        let mut watch = self.watch();
        let ended = |now: &Connectivity| now.state() == ChannelState::Shutdown;
        let enough = async {
            let now = watch.wait_for(|now| now.ready() >= endpoints || ended(now)).await;
            now.is_ok_and(|now| !ended(&now))
        };
        if timeout(limit, enough).await == Ok(true) {
            return Ok(());
        }
        let now = watch.borrow();
        let message = format!(
            "{} of {} endpoints ready within {limit:?}, wanted {endpoints}",
            now.ready(),
            now.endpoints()
        );
        let code = if ended(&now) { Code::Unavailable } else { Code::DeadlineExceeded };
        let error = Error::new(code, Phase::Connect, message);
        Err(match now.cause() {
            Some(cause) => error.because(cause.clone()),
            None => error,
        })
    }

    /// How many endpoints are healthy, and why others are not, as a handle that a health check can read.
    ///
    /// It does not keep the channel alive.
    #[must_use]
    pub fn health(&self) -> Health {
        self.balance.health()
    }

    /// The connectivity of the channel, as it changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Connectivity> {
        self.balance.watch()
    }

    /// What the channel and each endpoint are doing and have done, for programs to read and to print.
    #[must_use]
    pub fn stats(&self) -> Snapshot {
        self.balance.stats()
    }
}

impl<B: RequestBody> Service<Request<B>> for Channel {
    type Response = Response<Body>;
    type Error = Error;
    type Future = ResponseFuture<B>;

    /// Always ready: waiting happens in the call's future.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> ResponseFuture<B> {
        request.headers_mut().entry(USER_AGENT).or_insert_with(|| self.user_agent.clone());
        ResponseFuture(self.balance.call(request))
    }
}

/// The response of a call on a [`Channel`]. Dropping it cancels the call.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<B: RequestBody>(#[pin] balance::ResponseFuture<Connector, B>);

impl<B: RequestBody> Future for ResponseFuture<B> {
    type Output = Result<Response<Body>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.project().0.poll(cx));
        Poll::Ready(response.map(|response| response.map(|body| Body(Some(body)))).map_err(for_callers))
    }
}

/// The body of a response on a [`Channel`]. Dropping it before its end cancels the call.
///
/// The default is an empty body, which generated clients ask for where an interceptor may answer instead.
#[pin_project]
#[derive(Debug, Default)]
pub struct Body(#[pin] Option<balance::Body<http2::Body>>);

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(body) = self.project().0.as_pin_mut() else { return Poll::Ready(None) };
        let frame = ready!(body.poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map_err(for_callers)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

/// The error as callers get it: with a `tonic::Status` among its sources where the feature is on.
fn for_callers(error: Error) -> Error {
    #[cfg(feature = "tonic")]
    return crate::tonic::with_status(error);
    #[cfg(not(feature = "tonic"))]
    error
}
