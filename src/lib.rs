//! gRPC-aware load balancing as composable tower layers.

// Nothing that comes from input or the network may panic, and a library does not print.
#![warn(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::todo,
    clippy::unimplemented,
    clippy::unwrap_used
)]

#[cfg(feature = "proxy")]
pub mod access_log;
#[cfg(feature = "admin")]
pub mod admin;
#[cfg(feature = "server")]
pub mod answer;
#[cfg(feature = "server")]
pub mod app;
pub mod backoff;
pub mod balance;
pub mod channel;
#[cfg(feature = "proxy")]
pub mod cluster;
pub mod connect;
#[cfg(feature = "proxy")]
pub mod deadline;
pub mod discover;
pub mod eject;
pub mod endpoint;
pub mod error;
pub mod grpc;
pub mod health;
#[cfg(feature = "server")]
pub mod health_service;
#[cfg(feature = "server")]
mod json;
pub mod load;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "metrics/silent.rs"]
mod metrics;
pub mod policy;
#[cfg(feature = "probe")]
pub mod probe;
pub mod random;
#[cfg(feature = "proxy")]
pub mod reply;
#[cfg(feature = "proxy")]
pub mod route;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod serving;
#[cfg(feature = "server")]
pub mod shim;
pub mod slow_start;
pub mod stats;
pub mod target;
#[cfg(feature = "tonic")]
pub mod tonic;
#[cfg(feature = "web")]
pub mod web;

pub use crate::{
    balance::{Balance, Peer, WaitForReady},
    channel::Channel,
    error::Error,
};

/// The README and the guide: what they show is compiled.
#[cfg(all(doctest, feature = "dns", feature = "probe", feature = "tls", feature = "tonic"))]
mod guide {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/client.md")]
    mod client {}
    #[doc = include_str!("../docs/health.md")]
    mod health {}
    #[cfg(all(feature = "admin", feature = "proxy", feature = "web"))]
    #[doc = include_str!("../docs/proxy.md")]
    mod proxy {}
    #[doc = include_str!("../docs/errors.md")]
    mod errors {}
    #[doc = include_str!("../docs/policies.md")]
    mod policies {}
    #[doc = include_str!("../docs/operations.md")]
    mod operations {}
    #[cfg(all(feature = "admin", feature = "web"))]
    #[doc = include_str!("../docs/from-envoy.md")]
    mod from_envoy {}
    #[doc = include_str!("../docs/architecture.md")]
    mod architecture {}
}
