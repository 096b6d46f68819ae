//! gRPC-aware load balancing as composable tower layers.

pub mod connect;
pub mod discover;
pub mod endpoint;
pub mod error;
pub mod grpc;
pub mod load;
pub mod policy;
pub mod random;
pub mod stats;
#[cfg(feature = "tonic")]
pub mod tonic;

pub use crate::error::Error;
