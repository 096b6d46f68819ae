//! gRPC-aware load balancing as composable tower layers.

pub mod backoff;
pub mod balance;
pub mod channel;
pub mod connect;
pub mod discover;
pub mod endpoint;
pub mod error;
pub mod grpc;
pub mod load;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "metrics/silent.rs"]
mod metrics;
pub mod policy;
pub mod random;
pub mod stats;
pub mod target;
#[cfg(feature = "tonic")]
pub mod tonic;

pub use crate::{
    balance::{Balance, Peer, WaitForReady},
    channel::Channel,
    error::Error,
};
