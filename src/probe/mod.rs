//! Active health checks: asking an endpoint whether it is well, rather than waiting for a call to find out.
//!
//! A connection that is up says little. The process behind it may still be loading, may have lost its database, or may
//! have been told to drain. A probe asks it: by gRPC's health protocol ([`Grpc`]), by HTTP ([`Http`]), or by just
//! connecting ([`Tcp`]). What single checks find becomes a [`Verdict`](crate::health::Verdict) that does not flap
//! ([`Judge`](crate::health::Judge)), and a verdict is all that a probe makes: it removes nothing.
//!
//! ```
//! use std::time::Duration;
//!
//! use grpc_balance::{health::Thresholds, probe::{Grpc, Probe}};
//!
//! let probe = Probe::from(Grpc::new("route.Router"))
//!     .timeout(Duration::from_secs(1))
//!     .interval(Duration::from_secs(5))
//!     .thresholds(Thresholds::new(3, 1));
//! # let _ = probe;
//! ```
//!
//! [`Probed`] puts verdicts on the endpoints of any resolver, for a balancer of your own or tower's:
//!
//! ```
//! use grpc_balance::{connect::Connector, discover::Fixed, probe::{Probed, Tcp}};
//! use http::uri::Authority;
//!
//! # let runtime = tokio::runtime::Runtime::new()?;
//! # let _guard = runtime.enter();
//! let resolver = Fixed::new(["10.0.0.1:50051".parse::<std::net::SocketAddr>()?]);
//! let connector = Connector::builder(Authority::from_static("greeter.test")).build()?;
//! let probed = Probed::new(resolver, Tcp::new(), &connector);
//! # let _ = probed;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # When checks happen
//!
//! ```text
//!  endpoint added                                               a check that hangs takes timeout + interval
//!  │◄ initial ►│◄ check ►│◄ share of the ►│◄ check ►│◄ interval + jitter ►│◄ check: timeout ►│◄ interval ...
//!  │  jitter   │         │   interval     │         │                     │                  │
//! ```
//!
//! The first check comes at once, because a new endpoint gets no calls before it. The pause after it is a random share
//! of the interval: endpoints that came together in one answer are spread evenly over the interval from the second
//! check on, ten thousand of them as well as three. Each later pause is the interval plus a random share of the jitter,
//! and starts when the check has ended. A pause ends early when a probe's own HTTP/2 connection is lost, but not when
//! the peer has said GOAWAY: a process that dies is noticed at once, and one that ends old connections is not suspected.

mod caller;
mod grpc;
mod http;
mod line;
mod messages;
mod names;
mod probed;
mod prober;
mod schedule;
mod settings;
mod tcp;
#[cfg(test)]
mod tests;

pub use self::{caller::Body, grpc::Grpc, http::Http, probed::Probed, settings::Probe, tcp::Tcp};
pub(crate) use self::{
    caller::{lend, open_with},
    prober::{Owner, Prober, Probing},
};
