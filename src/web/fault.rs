//! What is wrong with a request, told to the response of the same call.

use std::{error::Error, fmt, sync::OnceLock, task::Context};

use futures_util::task::AtomicWaker;

/// Why the body of a gRPC-Web request cannot be read.
///
/// The caller gets it as HTTP 400 with `grpc-status` 13 if nothing was answered yet; the inner service gets it as the
/// error of the request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestError(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Invalid,
    Incomplete,
    Trailers,
}

impl RequestError {
    pub(super) const INVALID: Self = Self(Kind::Invalid);
    pub(super) const INCOMPLETE: Self = Self(Kind::Incomplete);
    pub(super) const TRAILERS: Self = Self(Kind::Trailers);

    /// Whether it is about base64, of `application/grpc-web-text`.
    #[must_use]
    pub fn is_base64(&self) -> bool {
        matches!(self.0, Kind::Invalid | Kind::Incomplete)
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Invalid => "bad gRPC-Web request: its body is no base64, which grpc-web-text consists of",
            Kind::Incomplete => {
                "bad gRPC-Web request: its body ends within a base64 group, expected four characters or padding"
            }
            Kind::Trailers => {
                "bad gRPC-Web request: its body has a frame of trailers (0x80), expected only messages"
            }
        })
    }
}

impl Error for RequestError {}

/// Where the request's body leaves what it found, and wakes the response.
///
/// The body is read by whoever forwards it, in another task perhaps, which need not tell anybody why it failed.
#[derive(Debug, Default)]
pub(super) struct Fault {
    found: OnceLock<RequestError>,
    response: AtomicWaker,
}

impl Fault {
    /// The first is kept.
    pub(super) fn report(&self, error: RequestError) {
        if self.found.set(error).is_ok() {
            self.response.wake();
        }
    }

    pub(super) fn found(&self) -> Option<RequestError> {
        self.found.get().copied()
    }

    /// What was found, or a wake-up once it is.
    pub(super) fn watch(&self, cx: &Context<'_>) -> Option<RequestError> {
        self.response.register(cx.waker());
        self.found()
    }
}
