//! Whether a call's end speaks of the endpoint.

use std::{fmt, sync::Arc};

use http::{HeaderMap, StatusCode};

use crate::grpc::Code;

/// What the end of a call says about the endpoint that served it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The endpoint did its work; an application error counts as work done.
    Success,
    /// The endpoint could not do its work: UNAVAILABLE, or the transport failed.
    Failure,
    /// Nobody knows: the caller gave up first.
    Cancelled,
}

/// Decides the [`Outcome`] of calls by their gRPC status.
#[derive(Clone)]
pub struct Classify(Arc<dyn Fn(Code) -> Outcome + Send + Sync>);

/// The gRPC status of a response, given its HTTP status and a header block that may carry `grpc-status`: the trailers,
/// or the headers of a trailers-only response. `None` when the block carries none and the HTTP status is 200.
#[must_use]
pub fn status_of(_http: StatusCode, _headers: &HeaderMap) -> Option<Code> {
    None
}

impl Classify {
    /// A classifier of one's own.
    pub fn new(classify: impl Fn(Code) -> Outcome + Send + Sync + 'static) -> Self {
        Self(Arc::new(classify))
    }

    /// The outcome of a call that ended with this status.
    #[must_use]
    pub fn outcome(&self, code: Code) -> Outcome {
        (self.0)(code)
    }
}

impl Default for Classify {
    /// UNAVAILABLE is a failure, everything else a success: an application's NOT_FOUND says nothing about the pod.
    fn default() -> Self {
        Self::new(|code| if code == Code::Unavailable { Outcome::Failure } else { Outcome::Success })
    }
}

impl fmt::Debug for Classify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Classify")
    }
}
