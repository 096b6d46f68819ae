//! What went wrong with a call, where, and whether it is safe to try again.
//!
//! A balancer's errors are read at 3 a.m. by somebody who needs to know which endpoint, in which phase, and whether
//! the server may have acted. [`Error`] answers all three and carries the gRPC code that the caller should see.
//!
//! ```
//! use grpc_balance::{error::{Error, Phase}, grpc::Code};
//!
//! let error = Error::new(Code::Unavailable, Phase::Resolve, "no such host");
//! assert_eq!(error.code(), Code::Unavailable);
//! assert!(error.is_safe_to_retry(), "nothing has been sent yet");
//! assert_eq!(error.to_string(), "resolve: no such host");
//! ```

use std::{error::Error as StdError, fmt, sync::Arc};

use crate::{endpoint::Endpoint, grpc::Code};

/// Any error that can cross threads.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// How far a call had come when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Finding the endpoints behind the target.
    Resolve,
    /// Choosing an endpoint, or waiting for one.
    Pick,
    /// Establishing a connection to an endpoint.
    Connect,
    /// The request or the response, on a stream of an established connection.
    Stream,
}

impl Phase {
    /// The phase in lower case, as it stands in messages and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Pick => "pick",
            Self::Connect => "connect",
            Self::Stream => "stream",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failed call: its gRPC code, the phase, the endpoint if one was chosen, and whether a retry is safe.
///
/// Cheap to clone, since one connection's failure is told to every call on it.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    code: Code,
    phase: Phase,
    message: Box<str>,
    endpoint: Option<Arc<Endpoint>>,
    safe_to_retry: bool,
    cause: Option<Arc<dyn StdError + Send + Sync>>,
    rendering: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error with a code, a phase and a message.
    ///
    /// It counts as safe to retry unless its phase is [`Phase::Stream`]: before that, nothing was sent.
    #[must_use]
    pub fn new(code: Code, phase: Phase, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            code,
            phase,
            message: message.into().into_boxed_str(),
            endpoint: None,
            safe_to_retry: phase != Phase::Stream,
            cause: None,
            rendering: None,
        }))
    }

    /// Names the endpoint that the error is about.
    #[must_use]
    pub fn at(mut self, endpoint: Arc<Endpoint>) -> Self {
        Arc::make_mut(&mut self.0).endpoint = Some(endpoint);
        self
    }

    /// Attaches the underlying cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        Arc::make_mut(&mut self.0).cause = Some(Arc::from(source.into()));
        self
    }

    /// Says whether the server provably did not act on the call.
    #[must_use]
    pub fn safe_to_retry(mut self, safe: bool) -> Self {
        Arc::make_mut(&mut self.0).safe_to_retry = safe;
        self
    }

    /// The gRPC code that the caller should see.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// How far the call had come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.0.phase
    }

    /// What happened, without phase, endpoint and cause.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The endpoint that the call was on, if one had been chosen.
    #[must_use]
    pub fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        self.0.endpoint.as_ref()
    }

    /// Whether the server provably did not act on the call, so that any call, idempotent or not, may be repeated.
    #[must_use]
    pub fn is_safe_to_retry(&self) -> bool {
        self.0.safe_to_retry
    }

    /// Whether the deadline passed.
    #[must_use]
    pub fn is_deadline_exceeded(&self) -> bool {
        self.0.code == Code::DeadlineExceeded
    }

    /// Whether no endpoint could serve the call, or the one that was chosen was lost.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.0.code == Code::Unavailable
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.0.code)
            .field("phase", &self.0.phase)
            .field("message", &self.0.message)
            .field("endpoint", &self.0.endpoint.as_ref().map(|e| e.to_string()))
            .field("safe_to_retry", &self.0.safe_to_retry)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.endpoint {
            Some(endpoint) => write!(f, "{} {endpoint}: {}", self.0.phase, self.0.message),
            None => write!(f, "{}: {}", self.0.phase, self.0.message),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|e| e as &(dyn StdError + 'static))
    }
}
