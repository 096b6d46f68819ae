//! The service.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use http::{HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body::Body as HttpBody;
use tower_service::Service;

use crate::{
    grpc::{Code, is_grpc},
    health::proto::{CHECK, LIST, WATCH},
    health_service::{
        Body, ResponseFuture,
        future::Method,
        refusal::{Refusal, method_not_allowed, unsupported_media_type},
    },
    serving::Registry,
};

/// Serves `grpc.health.v1` from a [`Registry`]. Cheap to clone.
///
/// It answers every request: what is not Check, Watch or List is UNIMPLEMENTED. To put it beside other services, take
/// [`HealthServiceLayer`](crate::health_service::HealthServiceLayer).
#[derive(Clone, Debug)]
pub struct HealthService {
    registry: Registry,
}

impl HealthService {
    /// Serves what this registry says.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }

    /// Where the statuses come from.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}

impl<B: HttpBody> Service<Request<B>> for HealthService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture<B>;

    /// Always ready.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture<B> {
        if request.method() != http::Method::POST {
            return ResponseFuture::refused(method_not_allowed());
        }
        let Some(kind) = request.headers().get(CONTENT_TYPE).filter(|kind| is_grpc(kind)) else {
            return ResponseFuture::refused(unsupported_media_type());
        };
        if !is_protobuf(kind) {
            let refusal =
                Refusal::new(Code::Unimplemented, "messages other than protobuf are not served here");
            return ResponseFuture::refused(refusal.into_response());
        }
        let method = match request.uri().path() {
            CHECK => Method::Check,
            WATCH => Method::Watch,
            LIST => Method::List,
            path => {
                let refusal = Refusal::new(Code::Unimplemented, format!("`{path}` is not served here"));
                return ResponseFuture::refused(refusal.into_response());
            }
        };
        ResponseFuture::reading(request.into_body(), method, self.registry.clone())
    }
}

/// Whether gRPC's content type names protobuf, or nothing, which means it (PROTOCOL-HTTP2, "Content-Type").
fn is_protobuf(grpc: &HeaderValue) -> bool {
    let kind = grpc.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    let mut parts = kind.trim_ascii_end().split(|byte| *byte == b'+');
    parts.nth(1).is_none_or(|format| format.eq_ignore_ascii_case(b"proto"))
}
