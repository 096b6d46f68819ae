use std::{sync::Arc, time::Duration};

use super::Http2Config;
use crate::random::Random;

/// What the builder was told that concerns single connections.
#[derive(Debug)]
pub(super) struct Config {
    #[cfg(feature = "tls")]
    pub(super) tls: Option<super::tls::ServerConfig>,
    /// Whether connections that do not begin with a TLS handshake are let in as they are.
    #[cfg(feature = "tls")]
    pub(super) plaintext_too: bool,
    pub(super) proxy_protocol: bool,
    pub(super) http2: Http2Config,
    pub(super) max_header_bytes: u32,
    pub(super) max_headers: usize,
    pub(super) tls_timeout: Option<Duration>,
    pub(super) preface_timeout: Option<Duration>,
    pub(super) header_timeout: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) max_age: Option<Duration>,
    pub(super) max_age_grace: Option<Duration>,
    pub(super) random: Arc<Random>,
}
