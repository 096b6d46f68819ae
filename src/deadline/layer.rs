//! The layer, its setting, and the service.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Extensions, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    deadline::{Body, ResponseFuture, timer::Timer},
    error::BoxError,
    grpc::{Code, timeout},
    reply::Caller,
};

/// Enforces deadlines around a service. By default those that callers ask for, without a cap.
///
/// See the [module docs](crate::deadline).
#[derive(Clone, Copy, Debug, Default)]
pub struct DeadlineLayer {
    cap: Option<Duration>,
}

impl DeadlineLayer {
    /// Deadlines as callers ask for them.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The longest that any request may take, streams included. None by default, as streams may be quiet for hours.
    #[must_use]
    pub fn cap(mut self, cap: Duration) -> Self {
        self.cap = Some(cap);
        self
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner, cap: self.cap }
    }
}

/// A request extension: the longest that this request may take, counted from the [`DeadlineLayer`] that finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "one value, to be built by callers")]
pub struct Cap(pub Duration);

impl Cap {
    /// Puts a cap on a request, unless it has one that is tighter.
    pub fn tighten(extensions: &mut Extensions, cap: Duration) {
        if extensions.get::<Self>().is_none_or(|Self(before)| cap < *before) {
            extensions.insert(Self(cap));
        }
    }
}

/// Enforces deadlines.
///
/// See the [module docs](crate::deadline). It is called within a tokio runtime whose time is enabled, as all that
/// waits in tokio is.
#[derive(Clone, Debug)]
pub struct Deadline<S> {
    inner: S,
    cap: Option<Duration>,
}

impl<S> Deadline<S> {
    /// The inner service.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// The limit of this request, or what is wrong with the one that it asks for.
    fn limit<B>(&self, request: &Request<B>, caller: Caller) -> Result<Option<Duration>, String> {
        let asked = match request.headers().get(timeout::HEADER) {
            Some(value) if caller == Caller::Grpc => Some(timeout::parse(value).map_err(|e| e.to_string())?),
            _ => None,
        };
        let of_route = request.extensions().get::<Cap>().map(|cap| cap.0);
        Ok(asked.into_iter().chain(self.cap).chain(of_route).min())
    }
}

impl<S, B, R> Service<Request<B>> for Deadline<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Body<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    /// Always ready: the wait for the inner service counts against the deadline, so it happens in the future.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture<S, B> {
        let caller = Caller::of(&request);
        match self.limit(&request, caller) {
            Ok(limit) => {
                let timer = limit.and_then(|limit| Timer::new(caller, limit));
                ResponseFuture::new(self.inner.clone(), request, timer)
            }
            Err(malformed) => ResponseFuture::refuse(caller.reply(Code::InvalidArgument, &malformed)),
        }
    }
}
