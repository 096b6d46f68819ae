//! Saying to another proxy that it may try elsewhere.

use std::{error::Error as StdError, fmt};

use crate::error::Error;

/// A request that provably nobody has processed, to be refused rather than answered; see
/// [`Builder::refuse_unprocessed`](super::Builder::refuse_unprocessed).
///
/// Its source is an [`h2::Error`] with REFUSED_STREAM, which hyper's server, and so this crate's, resets the stream
/// with.
#[derive(Debug)]
pub struct Unprocessed {
    why: Error,
    reset: h2::Error,
}

impl Unprocessed {
    pub(super) fn new(why: Error) -> Self {
        Self { why, reset: h2::Reason::REFUSED_STREAM.into() }
    }

    /// Why nobody processed it.
    #[must_use]
    pub fn why(&self) -> &Error {
        &self.why
    }
}

impl fmt::Display for Unprocessed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused, unprocessed: {}", self.why.report())
    }
}

impl StdError for Unprocessed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.reset)
    }
}
