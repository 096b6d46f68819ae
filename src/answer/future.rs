//! Either of two responses.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use pin_project::pin_project;
use tower_service::Service;

use crate::answer::Body;

/// The response of a layer that answers some requests itself: by the future `F`, or by the inner service `S`.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, S: Service<Q>, Q>(#[pin] State<F, S, Q>);

#[pin_project(project = Projected)]
enum State<F, S: Service<Q>, Q> {
    Own(#[pin] F),
    /// The inner service's readiness is awaited.
    Waiting {
        inner: S,
        request: Option<Q>,
    },
    Called(#[pin] S::Future),
}

impl<F, S: Service<Q>, Q> ResponseFuture<F, S, Q> {
    pub(crate) fn own(answer: F) -> Self {
        Self(State::Own(answer))
    }

    pub(crate) fn inner(inner: S, request: Q) -> Self {
        Self(State::Waiting { inner, request: Some(request) })
    }
}

impl<F, S, Q, A, B> Future for ResponseFuture<F, S, Q>
where
    F: Future<Output = Result<Response<A>, Infallible>>,
    S: Service<Q, Response = Response<B>>,
{
    type Output = Result<Response<Body<A, B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().0;
        loop {
            match state.as_mut().project() {
                Projected::Own(answer) => {
                    return answer.poll(cx).map(|Ok(response)| Ok(response.map(Body::own)));
                }
                Projected::Waiting { inner, request } => {
                    ready!(inner.poll_ready(cx))?;
                    #[expect(
                        clippy::expect_used,
                        reason = "taken only here, and the state changes right after"
                    )]
                    let called = inner.call(request.take().expect("a request waits"));
                    state.set(State::Called(called));
                }
                Projected::Called(called) => {
                    return called.poll(cx).map_ok(|response| response.map(Body::inner));
                }
            }
        }
    }
}

impl<F, S: Service<Q>, Q> fmt::Debug for ResponseFuture<F, S, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Own(_) => "ResponseFuture(answers itself)",
            State::Waiting { .. } => "ResponseFuture(waits for the inner service)",
            State::Called(_) => "ResponseFuture(called the inner service)",
        })
    }
}
