//! A server on real sockets.
#![cfg(all(feature = "server", unix))]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "so a test fails")]

mod abuse;
mod age;
mod drain;
mod limits;
mod listening;
mod protocols;
mod proxy_protocol;
mod support;
mod timeouts;
#[cfg(feature = "tls")]
mod tls;
