//! Connectivity, of one endpoint and of all of them.

use std::fmt;

/// Where an endpoint's connection is.
///
/// ```text
///            ┌────────────────── lost, said GOAWAY ──────────────┐
///            ▼                                                   │
///  Idle ► Connecting ──────────────── SETTINGS ───────────────► Ready
///            │                                                   ▲
///            └── attempt failed ──► Backoff ──── SETTINGS ───────┘
///
///  any ── no longer in the resolved set ──► Draining
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum EndpointState {
    /// Not connected, and the policy does not ask for it.
    #[default]
    Idle,
    /// On its first connection attempt, or on its first after a loss.
    Connecting,
    /// Connected: the peer's SETTINGS have arrived.
    Ready,
    /// Its latest attempt failed (gRPC's TRANSIENT_FAILURE). It stays so, attempts included, until one succeeds.
    Backoff,
    /// Removed from the set; its streams in flight finish.
    Draining,
}

impl EndpointState {
    /// The state in lower case, as it stands in tables, events and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Ready => "ready",
            Self::Backoff => "backoff",
            Self::Draining => "draining",
        }
    }

    pub(super) fn from_number(number: u8) -> Self {
        [Self::Idle, Self::Connecting, Self::Ready, Self::Backoff]
            .into_iter()
            .find(|state| *state as u8 == number)
            .unwrap_or(Self::Draining)
    }
}

impl fmt::Display for EndpointState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a call can expect of a channel (gRPC's connectivity states).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChannelState {
    /// Nothing is connected and nothing tries.
    #[default]
    Idle,
    /// A first connection may come soon: calls wait for it.
    Connecting,
    /// At least one endpoint is connected.
    Ready,
    /// No endpoint, or none whose latest attempt did not fail: calls fail at once unless they wait for ready.
    TransientFailure,
    /// The channel is gone.
    Shutdown,
}

impl ChannelState {
    /// The state that a resolved set's endpoints add up to: the first of READY, CONNECTING, IDLE and
    /// TRANSIENT_FAILURE that one of them is in.
    ///
    /// Draining endpoints do not count, and a set without endpoints is in TRANSIENT_FAILURE.
    #[must_use]
    pub fn of(endpoints: impl IntoIterator<Item = EndpointState>) -> Self {
        endpoints.into_iter().fold(Self::TransientFailure, |sum, endpoint| match (sum, endpoint) {
            (Self::Ready, _) | (_, EndpointState::Ready) => Self::Ready,
            (Self::Connecting, _) | (_, EndpointState::Connecting) => Self::Connecting,
            (Self::Idle, _) | (_, EndpointState::Idle) => Self::Idle,
            (sum, EndpointState::Backoff | EndpointState::Draining) => sum,
        })
    }

    /// The state in capitals, as gRPC's documents write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "IDLE",
            Self::Connecting => "CONNECTING",
            Self::Ready => "READY",
            Self::TransientFailure => "TRANSIENT_FAILURE",
            Self::Shutdown => "SHUTDOWN",
        }
    }
}

impl fmt::Display for ChannelState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
