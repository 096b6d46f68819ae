//! One call's deadline, from the moment it was made to the end of its response.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, HeaderName};
use tokio::{
    runtime::Handle,
    time::{Instant, Sleep, sleep_until},
};

use crate::{
    error::{Error, Phase},
    grpc::{Code, timeout},
};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// When a call ends at the latest.
#[derive(Debug)]
pub(crate) struct Deadline {
    at: Instant,
    /// Where the timer runs: the caller's runtime may be another, or none.
    runtime: Handle,
    /// Made when the call first has to wait; then it goes with the call into its response's body.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// The sooner of the request's `grpc-timeout` and the default. A time too far to represent is no deadline.
    ///
    /// Fails on a malformed `grpc-timeout`.
    pub(crate) fn of(
        headers: &HeaderMap,
        default: Option<Duration>,
        now: Instant,
        runtime: &Handle,
    ) -> Result<Option<Self>, Error> {
        let asked = match headers.get(GRPC_TIMEOUT) {
            Some(value) => Some(timeout::parse(value).map_err(|malformed| {
                Error::new(Code::InvalidArgument, Phase::Pick, malformed.to_string())
            })?),
            None => None,
        };
        let Some(limit) = asked.into_iter().chain(default).min() else { return Ok(None) };
        Ok(now.checked_add(limit).map(|at| Self { at, runtime: runtime.clone(), timer: None }))
    }

    pub(crate) fn has_passed(&self, now: Instant) -> bool {
        self.at <= now
    }

    /// Whether the deadline is the reason of this error: a server that keeps it too may cancel the call, and be heard
    /// before the timer here is.
    pub(crate) fn is_behind(&self, error: &Error, now: Instant) -> bool {
        error.is_cancelled() && self.has_passed(now)
    }

    /// Ready when the deadline has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| {
            let _guard = self.runtime.enter();
            Box::pin(sleep_until(self.at))
        });
        timer.as_mut().poll(cx)
    }

    /// Tells the server how much time is left, rounded up (the gRPC guide on deadlines: forward what remains).
    pub(crate) fn forward(&self, now: Instant, headers: &mut HeaderMap) {
        headers.insert(GRPC_TIMEOUT, timeout::encode(self.at.saturating_duration_since(now)));
    }
}
