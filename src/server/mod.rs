//! The listening side: HTTP/1.1 and HTTP/2 on one port, for peers that are not all well-behaved, and an orderly
//! end.
//!
//! A server in front of gRPC meets clients that it does not know: health checkers that speak HTTP/1.0, peers that
//! connect and say nothing, floods of frames that cost their sender nothing. [`Server`] takes any tower service
//! over `http::Request`s, recognises the protocol from the connection's first bytes, bounds everything that a peer
//! could make last, and ends in the order that a rolling deployment needs.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use grpc_balance::server::{RequestBody, Server};
//! use http::{Request, Response};
//! use http_body_util::Empty;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hello = tower::service_fn(|_: Request<RequestBody>| async {
//!     Ok::<_, Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
//! });
//!
//! let server = Server::bind("127.0.0.1:0").connection_limit(10_000);
//! let handle = server.handle();
//! let shutdown = async { /* tokio::signal::ctrl_c() */ };
//! # handle.drain();
//! # let server = server.linger(std::time::Duration::ZERO);
//! server.serve(hello, shutdown).await?;
//! assert_eq!(handle.stats().active, 0);
//! # Ok(())
//! # }
//! ```
//!
//! The layers of this crate, a tonic `Routes` and an axum router are such services. Several addresses, unix
//! sockets, TLS:
//!
//! ```
//! use std::time::Duration;
//!
//! use grpc_balance::server::{FloodLimits, Http2Config, Server};
//!
//! let server = Server::bind("[::]:8080")
//!     .and_bind("unix:/run/app.sock")
//!     .idle_timeout(Duration::from_secs(300))
//!     .max_connection_age(Duration::from_secs(3_600))
//!     .http2(Http2Config::new().max_concurrent_streams(100).floods(FloodLimits::new().resets(200)))
//!     .linger(Duration::from_secs(10));
//! # let _ = server;
//! ```
//!
//! # Drain
//!
//! `shutdown`, or [`Handle::drain`], starts it. First the server is still open, but [`Handle::watch`] tells
//! [`Phase::Lingering`], and health checks are to say so; when the [`linger`](Server::linger) is over, the
//! listeners are closed, HTTP/2 peers get a GOAWAY and HTTP/1 peers a `connection: close`, and peers that have not
//! said anything are dropped. What is left after the [`grace`](Server::grace) is cut off, as is a peer that has no
//! request open and does not acknowledge the GOAWAY for 5 s. A second call of `drain` ends everything at once.
//!
//! # What is bounded
//!
//! | what | by | default |
//! |---|---|---|
//! | connections | [`connection_limit`](Server::connection_limit) | file descriptors |
//! | a silent peer | [`tls_handshake_timeout`](Server::tls_handshake_timeout), [`preface_timeout`](Server::preface_timeout) | 10 s each |
//! | headers, in bytes and in number | [`max_header_bytes`](Server::max_header_bytes), [`max_headers`](Server::max_headers) | 60 KiB, 100 |
//! | slow headers | [`header_timeout`](Server::header_timeout) | 10 s |
//! | idle connections | [`idle_timeout`](Server::idle_timeout), [`keepalive`](Http2Config::keepalive) | 1 h; 2 min and 20 s |
//! | requests of one connection, unread data | [`Http2Config`] | 1 024; 8 MiB |
//! | floods of HTTP/2 frames | [`FloodLimits`] | on |
//!
//! A connection that is idle, or slow, takes about 20 KiB; four connections that flood as fast as they can, and come back
//! when they are closed, take less than 8 MiB together while other clients are served (`tests/server/abuse`).

mod address;
mod body;
mod bound;
mod builder;
mod config;
mod connection;
mod drain;
mod error;
mod flood;
mod http2;
mod http_service;
mod info;
mod listener;
mod per_core;
mod proxy_protocol;
mod stats;
#[cfg(feature = "tls")]
pub mod tls;

pub use self::{
    address::ListenAddress,
    body::RequestBody,
    bound::Bound,
    builder::Server,
    drain::{Handle, Phase},
    error::ListenError,
    flood::FloodLimits,
    http_service::HttpService,
    http2::Http2Config,
    info::{ConnectInfo, TlsInfo},
    per_core::PerCore,
    stats::Stats,
};
