//! What the endpoints speak: HTTP/2, or HTTP/1.1.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project::pin_project;
use tower_service::Service as _;

use crate::{
    balance::{self, Balance},
    connect::{
        Connector, RequestBody,
        http1::{self, Http1Connector},
        http2,
    },
    error::Error,
    health::Health,
    stats::Snapshot,
};

#[derive(Clone, Debug)]
pub(super) enum Upstream {
    Http1(Balance<Http1Connector>),
    Http2(Balance<Connector>),
}

impl Upstream {
    pub(super) fn call<B: RequestBody>(&mut self, request: Request<B>) -> Call<B> {
        match self {
            Self::Http1(balance) => Call::Http1(balance.call(request)),
            Self::Http2(balance) => Call::Http2(balance.call(request)),
        }
    }

    pub(super) fn health(&self) -> Health {
        match self {
            Self::Http1(balance) => balance.health(),
            Self::Http2(balance) => balance.health(),
        }
    }

    pub(super) fn stats(&self) -> Snapshot {
        match self {
            Self::Http1(balance) => balance.stats(),
            Self::Http2(balance) => balance.stats(),
        }
    }

    pub(super) fn waiting_calls(&self) -> u64 {
        match self {
            Self::Http1(balance) => balance.waiting_calls(),
            Self::Http2(balance) => balance.waiting_calls(),
        }
    }
}

#[pin_project(project = ProjectedCall)]
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "the large one is the usual one; how large depends on features")]
pub(super) enum Call<B: RequestBody> {
    Http1(#[pin] balance::ResponseFuture<Http1Connector, B>),
    Http2(#[pin] balance::ResponseFuture<Connector, B>),
}

impl<B: RequestBody> Future for Call<B> {
    type Output = Result<Response<Body>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ProjectedCall::Http1(call) => {
                call.poll(cx).map(|result| result.map(|response| response.map(Body::Http1)))
            }
            ProjectedCall::Http2(call) => {
                call.poll(cx).map(|result| result.map(|response| response.map(Body::Http2)))
            }
        }
    }
}

#[pin_project(project = ProjectedBody)]
#[derive(Debug)]
pub(super) enum Body {
    Http1(#[pin] balance::Body<http1::Body>),
    Http2(#[pin] balance::Body<http2::Body>),
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.project() {
            ProjectedBody::Http1(body) => body.poll_frame(cx),
            ProjectedBody::Http2(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}
