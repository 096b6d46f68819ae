//! Why a call is not served.

use std::borrow::Cow;

use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};

use crate::{
    grpc::{Code, STATUS_HEADER, message},
    health_service::Body,
};

/// A status other than OK.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    message: Cow<'static, str>,
}

impl Refusal {
    pub(super) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// Trailers-Only: one header block, and the end of the stream.
    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = grpc_response(Body::empty());
        let headers = response.headers_mut();
        headers.insert(STATUS_HEADER, self.code.number().into());
        headers.insert(message::HEADER, message::encode(&self.message));
        if self.code == Code::Unimplemented {
            // PROTOCOL-HTTP2: who refuses a compression says which ones it knows.
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        response
    }
}

const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

pub(super) fn grpc_response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// Only POST is gRPC.
pub(super) fn method_not_allowed() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    response
}

/// PROTOCOL-HTTP2: a content type that is not gRPC's gets 415, so that no other client takes this for its answer.
pub(super) fn unsupported_media_type() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}
