//! gRPC-aware load balancing as composable tower layers.

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
#[cfg(feature = "tonic")]
pub mod tonic;

pub use crate::error::Error;
