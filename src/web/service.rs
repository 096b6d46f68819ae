//! The layer and its service.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    error::BoxError,
    web::{Body, RequestBody, ResponseFuture, call::Call},
};

/// Speaks gRPC-Web for a service that speaks gRPC.
///
/// See the [module docs](crate::web).
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcWebLayer(());

impl GrpcWebLayer {
    /// The layer. There is nothing to set: every caller says itself what it speaks.
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for GrpcWebLayer {
    type Service = GrpcWeb<S>;

    fn layer(&self, inner: S) -> GrpcWeb<S> {
        GrpcWeb::new(inner)
    }
}

/// Translates gRPC-Web, and hands all other requests to the inner service as they are.
///
/// See the [module docs](crate::web).
#[derive(Clone, Copy, Debug)]
pub struct GrpcWeb<S> {
    inner: S,
}

impl<S> GrpcWeb<S> {
    /// Goes around this service.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self { inner }
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

impl<S, B, R> Service<Request<B>> for GrpcWeb<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
    R: http_body::Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let (call, body) = match Call::begin(&mut head) {
            Some((call, encoding)) => {
                let body = RequestBody::translated(body, encoding, call.fault.clone());
                (Some(call), body)
            }
            None => (None, RequestBody::untouched(body)),
        };
        ResponseFuture::new(self.inner.call(Request::from_parts(head, body)), call)
    }
}
