//! A request on its way.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderName, HeaderValue, Response, StatusCode};
use pin_project::pin_project;

use super::{Body, Unprocessed, limits::Active, upstream::Call};
use crate::{
    connect::RequestBody,
    error::{Error, Phase},
    grpc::Code,
    reply::{self, Caller},
};

const OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");

/// The response of a [`Cluster`](super::Cluster). Dropping it gives the request up upstream as well.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<B: RequestBody>(#[pin] State<B>);

#[pin_project(project = Projected)]
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "the large one is the usual one; how large depends on features")]
enum State<B: RequestBody> {
    Forward {
        #[pin]
        call: Call<B>,
        caller: Caller,
        refuses: bool,
        active: Option<Active>,
    },
    Local(Option<Box<Response<Body>>>),
}

impl<B: RequestBody> ResponseFuture<B> {
    pub(super) fn forward(call: Call<B>, caller: Caller, refuses: bool, active: Active) -> Self {
        Self(State::Forward { call, caller, refuses, active: Some(active) })
    }

    pub(super) fn overloaded(caller: Caller, cluster: &str) -> Self {
        let message = format!("too many requests at once to cluster `{cluster}`");
        let mut response = local(caller, Error::new(Code::Unavailable, Phase::Pick, message));
        // Envoy's mark of a tripped circuit breaker, which clients of Envoy's look for.
        response.headers_mut().insert(OVERLOADED, HeaderValue::from_static("true"));
        Self(State::Local(Some(Box::new(response))))
    }

    /// What cannot be forwarded.
    pub(super) fn objection(status: StatusCode, why: &str) -> Self {
        Self(State::Local(Some(Box::new(reply::text(status, why).map(Body::local)))))
    }

    /// Over HTTP/1 most servers and clients lose trailers, and with them a gRPC call's status.
    pub(super) fn needs_http2() -> Self {
        let status = StatusCode::HTTP_VERSION_NOT_SUPPORTED;
        let response = reply::text(status, "gRPC needs HTTP/2: over HTTP/1 its trailers would be lost");
        Self(State::Local(Some(Box::new(response.map(Body::local)))))
    }
}

impl<B: RequestBody> Future for ResponseFuture<B> {
    type Output = Result<Response<Body>, Unprocessed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().0.project() {
            Projected::Local(response) => match response.take() {
                Some(response) => Poll::Ready(Ok(*response)),
                // Polled after it was ready.
                None => Poll::Pending,
            },
            Projected::Forward { call, caller, refuses, active } => {
                let result = ready!(call.poll(cx));
                let Some(active) = active.take() else { return Poll::Pending };
                Poll::Ready(match result {
                    Ok(response) => Ok(response.map(|body| Body::forwarded(body, *caller, active))),
                    // A malformed or an expired deadline is what it is elsewhere, too.
                    Err(error)
                        if *refuses && error.is_safe_to_retry() && error.code() == Code::Unavailable =>
                    {
                        Err(Unprocessed::new(error))
                    }
                    Err(error) => Ok(local(*caller, error)),
                })
            }
        }
    }
}

fn local(caller: Caller, error: Error) -> Response<Body> {
    let message = error.report().to_string();
    let mut response = caller.reply(error.code(), &message).map(Body::local);
    response.extensions_mut().insert(error);
    response
}
