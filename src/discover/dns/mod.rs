//! Discovery by DNS that follows the zone: it polls by TTL, and survives whatever a DNS server does.
//!
//! A headless Kubernetes service is a name with one address per ready pod. `getaddrinfo` has no TTL, blocks a thread,
//! and cannot tell "no such name" from "no answer"; asked once, it never sees a pod that was added later. [`Dns`]
//! asks by itself, off the request path:
//!
//! - It asks again when the TTL of the answer is over, but no more often than every second and no more seldom than
//!   every 30 s, with up to 10 % of jitter, so that clients do not fall into step. When a connection fails, it asks
//!   at once, within a small budget.
//! - A failure keeps the last good endpoints. An empty answer (NXDOMAIN, or no records) is held against them for
//!   30 s before it is believed: zones are emptied by mistake more often than on purpose. Before anything was found,
//!   both are reported at once.
//! - An address that is missing from an answer is asked for once more before it is dropped, unless its connection
//!   failed or was told to go away: headless names lie briefly while pods are rolled.
//! - IPv4 and IPv6 are asked for at once and judged apart. One of them failing leaves its addresses as they were.
//!
//! ```
//! use grpc_balance::discover::Dns;
//!
//! let resolver = Dns::new("greeter.default.svc.cluster.local.", 50051)?;
//! # Ok::<(), grpc_balance::Error>(())
//! ```
//!
//! Everything above is a setting of [`DnsConfig`]:
//!
//! ```
//! use std::time::Duration;
//! use grpc_balance::discover::{Dns, DnsConfig};
//!
//! let config = DnsConfig::new()
//!     .servers([([10, 96, 0, 10], 53).into()])
//!     .empty_grace(Duration::from_secs(5))
//!     .max_interval(Duration::from_secs(10));
//! let resolver = Dns::with_config("greeter.default.svc.cluster.local.", 50051, config)?;
//! # Ok::<(), grpc_balance::Error>(())
//! ```
//!
//! IP literals, `localhost` and the names below it never go to the network, nor do names that the system's hosts file
//! settles.

mod candidates;
mod config;
mod hosts;
mod known;
mod lookup;
mod order;
mod poller;
mod resolv_conf;
mod resolver;
mod round;
mod schedule;
#[cfg(test)]
mod tests;
mod wire;

pub use self::{config::DnsConfig, resolver::Dns};

/// The error of a name that has no endpoints for us.
fn unavailable(message: impl Into<String>) -> crate::Error {
    crate::Error::new(crate::grpc::Code::Unavailable, crate::error::Phase::Resolve, message)
}
