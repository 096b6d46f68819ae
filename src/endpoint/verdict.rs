//! What a health check says of an endpoint.

use std::{fmt, sync::Arc};

use tokio::time::Instant;

/// Whether an endpoint is fit for calls, why, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    cause: Option<Arc<str>>,
    since: Instant,
}

impl Verdict {
    /// It is fit, since then.
    #[must_use]
    pub fn passing(since: Instant) -> Self {
        Self { cause: None, since }
    }

    /// It is not fit, for this reason, since then.
    #[must_use]
    pub fn failing(cause: impl Into<Arc<str>>, since: Instant) -> Self {
        Self { cause: Some(cause.into()), since }
    }

    /// Whether the endpoint is fit for calls.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.cause.is_none()
    }

    /// Why it is not fit: what the latest check that failed found. `None` while it is fit.
    #[must_use]
    pub fn cause(&self) -> Option<&Arc<str>> {
        self.cause.as_ref()
    }

    /// Since when it has been fit, or not.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            None => f.write_str("passing"),
            Some(cause) => write!(f, "failing: {cause}"),
        }
    }
}
