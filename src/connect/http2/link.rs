//! What the driver and the streams of one connection share, and what the streams say when it fails them.

use std::sync::{
    Arc, OnceLock,
    atomic::{
        AtomicBool, AtomicUsize,
        Ordering::{AcqRel, Relaxed},
    },
};

use h2::Reason;
use tokio::{runtime::Handle, task::AbortHandle};

use crate::{
    connect::Permit,
    endpoint::Endpoint,
    error::{BoxError, Error, Phase},
    grpc::Code,
};

/// What the driver and the streams of one connection share.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) runtime: Handle,
    /// The task that drives the connection, once there is one.
    driver: OnceLock<AbortHandle>,
    /// Why the connection closed.
    closed: OnceLock<Error>,
    calls: AtomicUsize,
    /// Headers or data arrived since the driver last asked.
    progressed: AtomicBool,
}

impl Link {
    pub(super) fn new(endpoint: Arc<Endpoint>, runtime: Handle) -> Self {
        Self {
            endpoint,
            runtime,
            driver: OnceLock::new(),
            closed: OnceLock::new(),
            calls: AtomicUsize::new(0),
            progressed: AtomicBool::new(false),
        }
    }

    /// Whether a call is open.
    pub(super) fn is_busy(&self) -> bool {
        self.calls.load(Relaxed) > 0
    }

    pub(super) fn note_progress(&self) {
        // Almost always set already: then the cache line stays shared.
        if !self.progressed.load(Relaxed) {
            self.progressed.store(true, Relaxed);
        }
    }

    pub(super) fn take_progress(&self) -> bool {
        self.progressed.load(Relaxed) && self.progressed.swap(false, AcqRel)
    }

    pub(super) fn driven_by(&self, driver: AbortHandle) {
        let _ = self.driver.set(driver);
    }

    /// Ends the connection and its streams at once, because of this.
    pub(super) fn abort(&self, cause: Error) {
        self.close(cause);
        if let Some(driver) = self.driver.get() {
            driver.abort();
        }
    }

    pub(super) fn close(&self, cause: Error) {
        // Only the first cause counts; what follows is its echo.
        let _ = self.closed.set(cause);
    }

    pub(super) fn closed(&self) -> Option<&Error> {
        self.closed.get()
    }

    /// What went wrong on a stream.
    pub(super) fn stream_error(&self, error: h2::Error) -> Error {
        let (code, message) = if error.is_io() {
            (Code::Unavailable, "the connection was lost")
        } else if error.is_go_away() && error.is_remote() {
            (Code::Unavailable, "the peer is going away and left the call unprocessed")
        } else if error.is_go_away() {
            (Code::Unavailable, "the connection failed")
        } else if let (true, Some(reason)) = (error.is_reset(), error.reason()) {
            (code_of_reset(reason), "the stream was reset")
        } else {
            (Code::Internal, "the message is not valid in HTTP/2")
        };
        let unprocessed = is_unprocessed(&error);
        let source: BoxError = match self.closed() {
            // What h2 tells the streams of a connection that we gave up is only that a pipe broke.
            Some(cause) if error.is_io() => cause.clone().into(),
            _ => error.into(),
        };
        self.error(code, message).because(source).safe_to_retry(unprocessed)
    }

    /// Nothing left the process, because the connection takes no more calls.
    pub(super) fn unsent(&self, error: h2::Error) -> Error {
        self.error(Code::Unavailable, "the connection takes no more calls").because(error).safe_to_retry(true)
    }

    /// The request's own body failed.
    pub(super) fn body_error(&self, source: BoxError) -> Error {
        let code = ours(&*source).map_or(Code::Cancelled, Error::code);
        self.error(code, "the request body failed").because(source)
    }

    fn error(&self, code: Code, message: &str) -> Error {
        Error::new(code, Phase::Stream, message).at(self.endpoint.clone())
    }
}

/// Whether the peer provably did not process the call: a stream above a GOAWAY's last id, or REFUSED_STREAM (RFC 9113,
/// 8.7).
pub(super) fn is_unprocessed(error: &h2::Error) -> bool {
    error.is_remote()
        && (error.is_go_away() || (error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM)))
}

/// PROTOCOL-HTTP2, "Errors". STREAM_CLOSED has no mapping there and counts with the rest.
fn code_of_reset(reason: Reason) -> Code {
    match reason {
        Reason::REFUSED_STREAM => Code::Unavailable,
        Reason::CANCEL => Code::Cancelled,
        Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
        Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
        _ => Code::Internal,
    }
}

/// An error of ours in a chain of causes: the body of a proxied call fails with one.
fn ours<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
}

/// One call on a connection: counted while it lives, and holding its stream's permit.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) link: Arc<Link>,
    _permit: Permit,
}

impl Call {
    pub(super) fn start(link: Arc<Link>, permit: Permit) -> Self {
        link.calls.fetch_add(1, Relaxed);
        Self { link, _permit: permit }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.link.calls.fetch_sub(1, Relaxed);
    }
}
