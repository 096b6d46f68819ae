//! What a proxy answers itself, in the language of whoever asked.
//!
//! A gRPC client that gets an HTTP error page reads `UNKNOWN: Bad Gateway`; a browser that gets a gRPC status sees a
//! successful, empty response. So a failure is said in the caller's own words: to gRPC as HTTP 200 with the status in
//! one header block that ends the stream (*Trailers-Only*), to all others as an HTTP status with a line of text.
//! Envoy calls these local replies.
//!
//! ```
//! use grpc_balance::{grpc::Code, reply::Caller};
//! use http::{HeaderValue, Request, header::CONTENT_TYPE};
//!
//! let mut request = Request::new(());
//! let page = Caller::of(&request).reply(Code::Unavailable, "no healthy endpoint");
//! assert_eq!(page.status(), 503);
//!
//! request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
//! let status = Caller::of(&request).reply(Code::Unavailable, "no healthy endpoint");
//! assert_eq!(status.status(), 200);
//! assert_eq!(status.headers()["grpc-status"], "14");
//! assert_eq!(status.headers()["grpc-message"], "no healthy endpoint");
//! ```

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body::{Frame, SizeHint};
use http_body_util::Full;

use crate::grpc::{Code, STATUS_HEADER, is_grpc, message};

/// In which language somebody asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "gRPC, or not")]
pub enum Caller {
    /// gRPC: the content type is `application/grpc`, alone or followed by `+` or `;`.
    Grpc,
    /// Anything else that speaks HTTP.
    Http,
}

impl Caller {
    /// Who made this request.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Self {
        match request.headers().get(CONTENT_TYPE) {
            Some(content_type) if is_grpc(content_type) => Self::Grpc,
            _ => Self::Http,
        }
    }

    /// A response that says this. An empty message is left out.
    #[must_use]
    pub fn reply(self, code: Code, message: &str) -> Response<Body> {
        match self {
            Self::Grpc => {
                let mut response = Response::new(Body(Full::default()));
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                headers.insert(STATUS_HEADER, HeaderValue::from(code.number()));
                if !message.is_empty() {
                    headers.insert(message::HEADER, message::encode(message));
                }
                response
            }
            Self::Http => text(http_status(code), message),
        }
    }
}

/// A page of plain text.
#[must_use]
pub fn text(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = Response::new(Body(Full::from(message.to_owned())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(message.len()));
    if !message.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    response
}

/// The HTTP status that says to others what a code says to gRPC; what Envoy answers in the same places.
#[must_use]
pub fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        // No route.
        Code::NotFound | Code::Unimplemented => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::ResourceExhausted | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Cancelled | Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::BAD_GATEWAY,
    }
}

/// The body of a reply: a line of text, or nothing at all, so that a gRPC status is one header block.
#[derive(Clone, Debug, Default)]
pub struct Body(Full<Bytes>);

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;

    use super::*;

    #[test]
    fn a_status_is_one_header_block_and_its_message_survives() {
        let response = Caller::Grpc.reply(Code::Internal, "broken: 100 % \u{fc}");
        assert!(response.body().is_end_stream(), "else it would be headers and empty data");
        assert_eq!(response.headers()["grpc-status"], "13");
        assert_eq!(response.headers()["grpc-message"], "broken: 100 %25 %C3%BC");
        assert!(!response.headers().contains_key(CONTENT_LENGTH));
    }

    #[test]
    fn without_a_message_there_is_no_header_for_it() {
        assert!(!Caller::Grpc.reply(Code::Unimplemented, "").headers().contains_key("grpc-message"));
        let page = Caller::Http.reply(Code::Unimplemented, "");
        assert_eq!((page.status().as_u16(), page.headers()[CONTENT_LENGTH].to_str().unwrap()), (404, "0"));
    }

    #[test]
    fn other_callers_get_the_status_that_envoy_gives_them() {
        for (code, status) in [
            (Code::Unimplemented, 404),
            (Code::Unavailable, 503),
            (Code::DeadlineExceeded, 504),
            (Code::ResourceExhausted, 503),
            (Code::Internal, 502),
            (Code::InvalidArgument, 400),
        ] {
            assert_eq!(Caller::Http.reply(code, "why").status(), status, "{code}");
        }
    }
}
