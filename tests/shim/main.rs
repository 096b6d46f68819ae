//! The health shim and the health service over real sockets, around tonic's routes and in tonic's own server.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../proto/mod.rs"]
mod pb;

mod app;
mod grpc;
mod http;
mod support;
mod tonic_server;
