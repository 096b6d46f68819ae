//! gRPC-aware load balancing as composable tower layers.

pub mod backoff;
pub mod connect;
pub mod discover;
pub mod endpoint;
pub mod error;
pub mod grpc;
pub mod load;
pub mod policy;
pub mod random;
pub mod target;
#[cfg(feature = "tonic")]
pub mod tonic;

pub use crate::error::Error;
