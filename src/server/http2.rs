use std::time::Duration;

use hyper::server::conn::http2;
use tokio::time::Instant;

use super::{FloodLimits, flood::Meter};

/// The largest window (RFC 9113, 6.9.1).
const MAX_WINDOW: u32 = (1 << 31) - 1;

/// Ten years.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

/// The HTTP/2 settings of connections from clients.
///
/// The defaults are for clients that are not all trusted, and have Envoy's names where it has them:
///
/// | setting | here | Envoy | grpc-go | hyper |
/// |---|---|---|---|---|
/// | concurrent streams | 1 024 | 1 024 | unlimited | 200 |
/// | stream window | 1 MiB | 16 MiB | 64 KiB, grown by BDP | 1 MiB |
/// | connection window | 8 MiB | 24 MiB | 64 KiB, grown by BDP | 1 MiB |
/// | frame size | 16 KiB | 16 KiB | 16 KiB | 16 KiB |
/// | keepalive | 2 min, 20 s | none | 2 h, 20 s | none |
///
/// ```
/// use grpc_balance::server::Http2Config;
///
/// // At the edge of the internet, as Envoy's guide for it has them.
/// let edge = Http2Config::new().max_concurrent_streams(100).stream_window(64 << 10).connection_window(1 << 20);
/// # let _ = edge;
/// ```
#[derive(Clone, Debug)]
pub struct Http2Config {
    max_concurrent_streams: u32,
    stream_window: u32,
    connection_window: u32,
    max_frame_size: u32,
    send_buffer: usize,
    keepalive_interval: Option<Duration>,
    keepalive_timeout: Duration,
    floods: Option<FloodLimits>,
}

impl Http2Config {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            max_concurrent_streams: 1024,
            stream_window: 1 << 20,
            connection_window: 8 << 20,
            max_frame_size: 16 << 10,
            send_buffer: 64 << 10,
            keepalive_interval: Some(Duration::from_secs(120)),
            keepalive_timeout: Duration::from_secs(20),
            floods: Some(FloodLimits::new()),
        }
    }

    /// SETTINGS_MAX_CONCURRENT_STREAMS: requests that one connection may have open. Default 1 024, as Envoy's
    /// `max_concurrent_streams`; what exceeds it is refused (REFUSED_STREAM), which is safe to retry.
    #[must_use]
    pub fn max_concurrent_streams(mut self, streams: u32) -> Self {
        self.max_concurrent_streams = streams;
        self
    }

    /// SETTINGS_INITIAL_WINDOW_SIZE in bytes: what a peer may send on one stream before the service has read it.
    /// Default 1 MiB; Envoy's `initial_stream_window_size`. At most 2^31-1; larger values count as that.
    #[must_use]
    pub fn stream_window(mut self, bytes: u32) -> Self {
        self.stream_window = bytes.min(MAX_WINDOW);
        self
    }

    /// What a peer may send on all streams together before it is read, in bytes: the most that one connection can
    /// make us hold of requests. Default 8 MiB; Envoy's `initial_connection_window_size`. Between 65 535, where
    /// HTTP/2 starts, and 2^31-1; other values count as the nearer of these.
    ///
    /// `h2` closes a connection whose unread DATA frames under 256 bytes cost more than half of this: below 1 MiB,
    /// some hundreds of small messages on one stream that nobody reads are enough.
    #[must_use]
    pub fn connection_window(mut self, bytes: u32) -> Self {
        self.connection_window = bytes.clamp(65_535, MAX_WINDOW);
        self
    }

    /// SETTINGS_MAX_FRAME_SIZE in bytes. Default 16 KiB, the protocol's own. Between 16 384 and 2^24-1; other
    /// values count as the nearer of these.
    #[must_use]
    pub fn max_frame_size(mut self, bytes: u32) -> Self {
        self.max_frame_size = bytes.clamp(16_384, (1 << 24) - 1);
        self
    }

    /// How much of one stream's response may wait in memory for the socket, in bytes. Default 64 KiB, so that a
    /// peer that stops reading 1 024 responses makes us hold 64 MiB at most. At least 16 KiB and at most 2^31-1;
    /// other values count as the nearer of these.
    #[must_use]
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = bytes.clamp(16 << 10, MAX_WINDOW as usize);
        self
    }

    /// How long a connection may be silent before a PING asks whether the peer is there, and how long the answer
    /// may take. `None` for never. Default 2 min and 20 s: the balancers of every cloud forget connections that are
    /// silent for longer (Azure's after 4 min, AWS's after 350 s), and streams may be quiet for hours. Envoy's
    /// `connection_keepalive`, gRFC A9's `KEEPALIVE_TIME` and `KEEPALIVE_TIMEOUT`.
    #[must_use]
    pub fn keepalive(mut self, interval: impl Into<Option<Duration>>, timeout: Duration) -> Self {
        // hyper adds these to the time of day, which has an end.
        self.keepalive_interval = interval.into().filter(|interval| *interval < NEVER);
        self.keepalive_timeout = timeout.min(NEVER);
        self
    }

    /// The limits against floods; `None` switches them off, for peers that are trusted. Default
    /// [`FloodLimits::new`]. `h2`'s own limits stay in any case.
    #[must_use]
    pub fn floods(mut self, limits: impl Into<Option<FloodLimits>>) -> Self {
        self.floods = limits.into();
        self
    }

    pub(super) fn meter(&self, now: Instant) -> Option<Meter> {
        self.floods.as_ref().map(|limits| Meter::new(limits, self.max_concurrent_streams, now))
    }

    pub(super) fn apply<E>(&self, builder: &mut http2::Builder<E>) {
        builder
            .max_concurrent_streams(self.max_concurrent_streams)
            .initial_stream_window_size(self.stream_window)
            .initial_connection_window_size(self.connection_window)
            .max_frame_size(self.max_frame_size)
            .max_send_buf_size(self.send_buffer)
            .keep_alive_interval(self.keepalive_interval)
            .keep_alive_timeout(self.keepalive_timeout)
            // h2 has 20 for streams that are cancelled before we looked at them. A client that gives up a batch of
            // calls while this machine is busy sends more.
            .max_pending_accept_reset_streams(200)
            // The peer made us reset these. 1 024 is h2's own limit, said here because it must not be lost.
            .max_local_error_reset_streams(1024);
    }
}

impl Default for Http2Config {
    fn default() -> Self {
        Self::new()
    }
}
