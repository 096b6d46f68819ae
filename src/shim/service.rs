//! The service that answers health checks.

use std::convert::Infallible;
use std::{
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    answer,
    shim::{HealthShimLayer, Source, layer::Config, render},
};

/// The body of a response through the shim: the shim's own, or the inner service's.
pub type Body<B> = answer::Body<Full<Bytes>, B>;

/// The response of a request through the shim.
pub type ResponseFuture<S, B> =
    answer::ResponseFuture<Ready<Result<Response<Full<Bytes>>, Infallible>>, S, Request<B>>;

/// Answers HTTP health checks, and hands all other requests to the inner service.
///
/// See the [module docs](crate::shim).
#[derive(Clone, Debug)]
pub struct HealthShim<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> HealthShim<S> {
    pub(super) fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }

    /// Answers on `/healthz` from this source; [`HealthShimLayer`] has the settings.
    #[must_use]
    pub fn around(inner: S, source: impl Into<Source>) -> Self {
        HealthShimLayer::new(source).layer(inner)
    }

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
}

impl<S, B, R> Service<Request<B>> for HealthShim<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<Body<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    /// Always ready; see [`answer`](crate::answer).
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture<S, B> {
        if self.config.matches(&request) {
            ResponseFuture::own(ready(Ok(render::answer(&self.config, &request))))
        } else {
            ResponseFuture::inner(self.inner.clone(), request)
        }
    }
}
