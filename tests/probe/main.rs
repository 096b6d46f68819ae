//! Probes from end to end: real health servers, web servers and sockets.
#![cfg(feature = "probe")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "so a test fails")]

mod grpc;
mod http;
mod peers;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
