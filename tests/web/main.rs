//! gRPC-Web and CORS over real sockets: tonic's routes behind the layers, served by our server.
#![cfg(all(feature = "web", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../proto/mod.rs"]
mod pb;

mod calls;
mod client;
mod cors;
mod failures;
mod service;
