//! One call's deadline.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, HeaderValue};
use tokio::{
    task::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

use crate::{
    deadline::Elapsed,
    grpc::{Code, STATUS_HEADER, message, timeout},
    reply::Caller,
};

/// When a call ends at the latest, and how its caller is told.
#[derive(Debug)]
pub(super) struct Timer {
    caller: Caller,
    limit: Duration,
    at: Instant,
    /// Made when it is first asked; then it goes with the call into its response's body.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// A limit that no clock reaches is none.
    pub(super) fn new(caller: Caller, limit: Duration) -> Option<Self> {
        Some(Self { caller, limit, at: Instant::now().checked_add(limit)?, sleep: None })
    }

    pub(super) fn caller(&self) -> Caller {
        self.caller
    }

    pub(super) fn at(&self) -> Instant {
        self.at
    }

    pub(super) fn elapsed(&self) -> Elapsed {
        Elapsed::new(self.limit)
    }

    /// Ready when the deadline has passed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        // Without a part in tokio's budgets: a timer that is told to come back later is not armed, and perhaps nobody
        // comes back.
        pin!(unconstrained(sleep.as_mut())).poll(cx)
    }

    /// Tells the service behind how much time is left.
    pub(super) fn forward(&self, headers: &mut HeaderMap) {
        if self.caller == Caller::Grpc {
            headers
                .insert(timeout::HEADER, timeout::encode(self.at.saturating_duration_since(Instant::now())));
        }
    }

    /// The end of a gRPC response that has begun.
    pub(super) fn trailers(&self) -> HeaderMap {
        let mut trailers = HeaderMap::with_capacity(2);
        trailers.insert(STATUS_HEADER, HeaderValue::from(Code::DeadlineExceeded.number()));
        trailers.insert(message::HEADER, message::encode(&self.elapsed().to_string()));
        trailers
    }
}
