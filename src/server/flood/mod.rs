//! Limits for what a peer can make an HTTP/2 connection do at no cost of its own.
//!
//! `h2` and hyper bound the memory of a connection, whatever its peer sends: they refuse blocks of too many
//! CONTINUATION frames, streams that are reset before they were looked at, and streams beyond the limit. They do
//! not bound the work: each PING is answered, each SETTINGS applied to every stream, each stream that was cancelled
//! a moment after it began is a call for the service, at whatever rate the network carries. Those are counted here,
//! where the bytes pass, and a connection that exceeds its allowance is closed.

mod allowance;
mod frames;
mod meter;

use std::{error::Error as StdError, fmt};

pub(super) use self::meter::Meter;

/// How much an HTTP/2 peer may ask for nothing before its connection is closed.
///
/// On by default. What honest clients do is far inside: a gRPC client that measures its bandwidth sends a PING for
/// data that it receives, which earns ten such frames.
///
/// ```
/// use grpc_balance::server::FloodLimits;
///
/// let strict = FloodLimits::new().control_frames(200).resets(100);
/// # let _ = strict;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FloodLimits {
    pub(super) control_frames: u32,
    pub(super) resets: Option<u32>,
}

impl FloodLimits {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self { control_frames: 1_000, resets: None }
    }

    /// PING, WINDOW_UPDATE, PRIORITY, empty DATA and unknown frames in excess of what data and headers account for;
    /// a SETTINGS counts as ten. A tenth comes back each second; each HEADERS or DATA frame, of either side, earns
    /// ten and one more for each KiB. Default 1 000, which is Envoy's `max_outbound_control_frames`.
    #[must_use]
    pub fn control_frames(mut self, frames: u32) -> Self {
        self.control_frames = frames;
        self
    }

    /// Streams that the peer may cancel in excess of half of those that it opens. A tenth comes back each second.
    /// Default: twice the number of concurrent streams, and at least 1 000, so that a client may give up everything
    /// that it has open, and once again. Envoy has `premature_reset_total_stream_count` (500) for this.
    #[must_use]
    pub fn resets(mut self, streams: u32) -> Self {
        self.resets = Some(streams);
        self
    }
}

impl Default for FloodLimits {
    fn default() -> Self {
        Self::new()
    }
}

/// Which allowance was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flood {
    Control,
    Resets,
}

impl fmt::Display for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Control => "the peer sent too many frames that ask for work and carry nothing",
            Self::Resets => "the peer cancelled too many of its streams",
        })
    }
}

impl StdError for Flood {}
