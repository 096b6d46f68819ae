//! What happened so far: the counters behind every metric, and a snapshot that a program can print.
//!
//! A balancer makes decisions that its user does not see, and when calls fail the question is always the same: which
//! endpoints did it know, in which state, and what became of the calls. The answer must be there without a metrics
//! exporter, and counting must cost next to nothing. So the counters here are plain atomics and the truth; everything
//! else, [`Snapshot`] and the `metrics` feature included, reads them or is told in the same places.
//!
//! ```
//! use grpc_balance::{endpoint::{Endpoint, EndpointSet}, stats::{ChannelStats, EndpointState, EndpointStats}};
//! use std::sync::Arc;
//!
//! let endpoint: Endpoint = "10.0.0.7:50051".parse()?;
//! let set = EndpointSet::new([endpoint], 1);
//! let channel = ChannelStats::default();
//! channel.resolved(&set);
//! let stats = EndpointStats::default();
//! stats.set_state(&set.endpoints()[0], EndpointState::Ready, None);
//!
//! let mut snapshot = channel.snapshot("dns:///greeter:50051");
//! snapshot.endpoints.extend(set.endpoints().iter().map(|endpoint| stats.snapshot(endpoint)));
//! assert!(snapshot.to_string().contains("10.0.0.7:50051  ready"));
//! # Ok::<(), grpc_balance::endpoint::ParseAddressError>(())
//! ```
//!
//! # Events
//!
//! Each change of an endpoint's state and of discovery is a `tracing` event, emitted where it is counted: at `INFO`
//! when it changes what calls can expect, at `DEBUG` when it repeats. The targets are `grpc_balance::endpoint` and
//! `grpc_balance::discover`, the fields `endpoint`, `from`, `to`, `endpoints`, `generation` and `cause`, the last with
//! the whole chain of causes. Nothing is emitted for a call.

mod channel;
mod endpoint;
mod shards;
mod snapshot;
mod state;
mod table;

pub use self::{
    channel::{ChannelStats, Waiting},
    endpoint::{Disconnect, EndpointStats},
    snapshot::{Disconnects, EndpointSnapshot, Failure, Outcomes, Snapshot},
    state::{ChannelState, EndpointState},
};

#[cfg(test)]
mod tests;
