//! The service beside others.

use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body as HttpBody;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    answer,
    health_service::{Body, HealthService, ResponseFuture},
    serving::Registry,
};

const PREFIX: &str = "/grpc.health.v1.Health/";

/// Puts a [`HealthService`] in front of a service, which gets every request but those to `grpc.health.v1.Health`.
///
/// See the [module docs](crate::health_service).
#[derive(Clone, Debug)]
pub struct HealthServiceLayer {
    health: HealthService,
}

impl HealthServiceLayer {
    /// Serves what this registry says.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self { health: HealthService::new(registry) }
    }
}

impl<S> Layer<S> for HealthServiceLayer {
    type Service = BesideHealth<S>;

    fn layer(&self, inner: S) -> BesideHealth<S> {
        BesideHealth { inner, health: self.health.clone() }
    }
}

/// A service with a [`HealthService`] beside it.
///
/// See the [module docs](crate::health_service).
#[derive(Clone, Debug)]
pub struct BesideHealth<S> {
    inner: S,
    health: HealthService,
}

impl<S> BesideHealth<S> {
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

impl<S, B, R> Service<Request<B>> for BesideHealth<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: HttpBody,
{
    type Response = Response<answer::Body<Body, R>>;
    type Error = S::Error;
    type Future = answer::ResponseFuture<ResponseFuture<B>, S, Request<B>>;

    /// Always ready; see [`answer`].
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if request.uri().path().starts_with(PREFIX) {
            answer::ResponseFuture::own(self.health.call(request))
        } else {
            answer::ResponseFuture::inner(self.inner.clone(), request)
        }
    }
}
