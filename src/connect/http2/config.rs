//! The HTTP/2 settings of a connection.

use crate::connect::Keepalive;

/// The HTTP/2 settings of connections to endpoints.
///
/// The defaults suit gRPC between machines of one network: one stream fills a path of 1 Gbit/s and 8 ms, and all
/// together one of 130 ms, while what a reader that stands still makes us hold is bounded.
///
/// | setting | here | grpc-go | tonic, hyper | linkerd2-proxy |
/// |---|---|---|---|---|
/// | stream window | 1 MiB | 64 KiB, grown by BDP | 2 MiB | 64 KiB |
/// | connection window | 16 MiB | 64 KiB, grown by BDP | 5 MiB | 1 MiB |
/// | frame size | 16 KiB | 16 KiB | 16 KiB | 16 KiB |
/// | header list | 16 KiB | 16 MiB | 16 KiB | 16 KiB |
///
/// ```
/// use grpc_balance::connect::http2::Http2Config;
///
/// let frugal = Http2Config::new().stream_window(65_535).connection_window(1 << 20);
/// # let _ = frugal;
/// ```
#[derive(Clone, Debug)]
pub struct Http2Config {
    stream_window: u32,
    connection_window: u32,
    max_frame_size: u32,
    max_header_list_size: u32,
    send_buffer: usize,
    data_frame_budget: usize,
    keepalive: Keepalive,
}

/// The largest window (RFC 9113, 6.9.1).
const MAX_WINDOW: u32 = (1 << 31) - 1;

impl Http2Config {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stream_window: 1 << 20,
            connection_window: 16 << 20,
            max_frame_size: 16 << 10,
            max_header_list_size: 16 << 10,
            send_buffer: 400 << 10,
            data_frame_budget: usize::MAX,
            keepalive: Keepalive::default(),
        }
    }

    /// SETTINGS_INITIAL_WINDOW_SIZE in bytes: what a peer may send on one stream before the application has read it.
    /// Default 1 MiB: the delay of a network, not the size of messages, asks for more. At most 2^31-1; larger values
    /// count as that.
    #[must_use]
    pub fn stream_window(mut self, bytes: u32) -> Self {
        self.stream_window = bytes.min(MAX_WINDOW);
        self
    }

    /// What a peer may send on all streams together before it is read, in bytes. Default 16 MiB: up to 15 streams
    /// whose readers stand still do not stop the others. Between 65 535, where HTTP/2 starts, and 2^31-1; other values count
    /// as the nearer of these.
    #[must_use]
    pub fn connection_window(mut self, bytes: u32) -> Self {
        self.connection_window = bytes.clamp(65_535, MAX_WINDOW);
        self
    }

    /// SETTINGS_MAX_FRAME_SIZE in bytes: the largest frame that the peer may send. Default 16 KiB, the protocol's own
    /// default, which keeps streams interleaved. Between 16 384 and 2^24-1; other values count as the nearer of these.
    #[must_use]
    pub fn max_frame_size(mut self, bytes: u32) -> Self {
        self.max_frame_size = bytes.clamp(16_384, (1 << 24) - 1);
        self
    }

    /// SETTINGS_MAX_HEADER_LIST_SIZE in bytes: the largest header or trailer block that is accepted. Default 16 KiB.
    #[must_use]
    pub fn max_header_list_size(mut self, bytes: u32) -> Self {
        self.max_header_list_size = bytes;
        self
    }

    /// How much of one stream's request body may wait in memory for the peer's windows, in bytes. Default 400 KiB.
    /// At least 16 KiB and at most 2^31-1; other values count as the nearer of these.
    #[must_use]
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = bytes.clamp(16 << 10, MAX_WINDOW as usize);
        self
    }

    /// How much bookkeeping the unread DATA frames under 256 bytes may cost on the whole connection, in bytes.
    /// Default: no limit, because the windows bound it.
    ///
    /// `h2` closes a connection whose budget is spent (ENHANCE_YOUR_CALM), and with it every call of every other
    /// user: by its own default, 134 unread messages of 10 bytes on one slow stream are enough. A frame of one byte
    /// costs about 256 bytes, so a hostile server can make us hold up to 256 times the connection window; where
    /// servers are not trusted, set a budget, or a smaller window.
    #[must_use]
    pub fn data_frame_budget(mut self, bytes: usize) -> Self {
        self.data_frame_budget = bytes;
        self
    }

    /// When the peer is pinged. Default [`Keepalive::on_suspicion`].
    #[must_use]
    pub fn keepalive(mut self, keepalive: Keepalive) -> Self {
        self.keepalive = keepalive;
        self
    }

    /// The keepalive that is set; a connector doubles it after `too_many_pings`.
    #[must_use]
    pub fn get_keepalive(&self) -> &Keepalive {
        &self.keepalive
    }

    pub(super) fn builder(&self) -> h2::client::Builder {
        let mut builder = h2::client::Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(self.stream_window)
            .initial_connection_window_size(self.connection_window)
            .max_frame_size(self.max_frame_size)
            .max_header_list_size(self.max_header_list_size)
            .max_send_buffer_size(self.send_buffer)
            .data_frame_budget(self.data_frame_budget)
            // Frames that cross a cancellation of ours are no attack, and must not add up to a closed connection.
            .max_concurrent_reset_streams(1024)
            .max_local_error_reset_streams(None);
        builder
    }
}

impl Default for Http2Config {
    fn default() -> Self {
        Self::new()
    }
}
