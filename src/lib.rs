//! gRPC-aware load balancing as composable tower layers.

pub mod connect;
pub mod discover;
pub mod endpoint;
pub mod error;
pub mod grpc;
pub mod load;
pub mod policy;
pub mod random;
pub mod target;

pub use crate::error::Error;
