//! One call, up to its response's headers.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use pin_project::pin_project;
use tower_service::Service;

use crate::{
    deadline::{Body, timer::Timer},
    error::BoxError,
    grpc::Code,
    reply,
};

/// The response of a request with a deadline.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S: Service<Request<B>>, B> {
    #[pin]
    state: State<S, B>,
    timer: Option<Timer>,
}

#[pin_project(project = Projected)]
enum State<S: Service<Request<B>>, B> {
    /// The inner service's readiness is awaited.
    Waiting {
        inner: S,
        request: Option<Request<B>>,
    },
    Called(#[pin] S::Future),
    Refused(Option<Response<reply::Body>>),
    /// The inner future is gone.
    Done,
}

impl<S: Service<Request<B>>, B> ResponseFuture<S, B> {
    pub(super) fn new(inner: S, request: Request<B>, timer: Option<Timer>) -> Self {
        Self { state: State::Waiting { inner, request: Some(request) }, timer }
    }

    pub(super) fn refuse(response: Response<reply::Body>) -> Self {
        Self { state: State::Refused(Some(response)), timer: None }
    }
}

impl<S, B, R> Future for ResponseFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Output = Result<Response<Body<R>>, S::Error>;

    #[expect(clippy::expect_used, reason = "each is taken once, in a state that changes right after")]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            if let Some(timer) = this.timer.as_mut()
                && timer.poll(cx).is_ready()
            {
                this.state.set(State::Done);
                let reply = timer.caller().reply(Code::DeadlineExceeded, &timer.elapsed().to_string());
                return Poll::Ready(Ok(reply.map(Body::own)));
            }
            match this.state.as_mut().project() {
                Projected::Waiting { inner, request } => {
                    ready!(inner.poll_ready(cx))?;
                    let mut request = request.take().expect("a request waits");
                    if let Some(timer) = this.timer {
                        timer.forward(request.headers_mut());
                    }
                    let called = inner.call(request);
                    this.state.set(State::Called(called));
                }
                Projected::Called(called) => {
                    let result = ready!(called.poll(cx));
                    this.state.set(State::Done);
                    let timer = this.timer.take();
                    return Poll::Ready(result.map(|response| response.map(|body| Body::inner(body, timer))));
                }
                Projected::Refused(reply) => {
                    let reply = reply.take().expect("polled after it was ready");
                    return Poll::Ready(Ok(reply.map(Body::own)));
                }
                #[expect(clippy::panic, reason = "the contract of futures")]
                Projected::Done => panic!("polled after it was ready"),
            }
        }
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for ResponseFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Waiting { .. } => "waits for the inner service",
            State::Called(_) => "called the inner service",
            State::Refused(_) => "refused",
            State::Done => "done",
        };
        f.debug_struct("ResponseFuture").field("state", &state).field("timer", &self.timer).finish()
    }
}
