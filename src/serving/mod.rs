//! Whether this process should get calls, as those ask who send them.
//!
//! A load balancer asks by `GET /healthz`, a gRPC client by `grpc.health.v1`, a rolling deploy expects both to say no
//! before the process stops. They must never contradict each other, so what they say is decided here, once:
//!
//! - [`Clusters`] is a condition on the [`Health`](crate::health::Health) of one or several clusters;
//! - [`Registry`] knows the [`Status`] of services by name, set by hand or following clusters;
//! - [`Drain`] is the switch that turns everything to NOT_SERVING, for good.
//!
//! [`shim`](crate::shim) and [`health_service`](crate::health_service) are the two protocols that tell it.
//!
//! ```
//! use grpc_balance::health::{Health, Summary};
//! use grpc_balance::serving::{Clusters, Registry, Status};
//!
//! # let ((reporter, user), (_alive, alive)) = (Health::new("user"), Health::new("alive"));
//! let registry = Registry::following(Clusters::any([user.clone(), alive]));  // the process as a whole: ""
//! registry.follow("gateway.UserService", user);
//! registry.set("gateway.Admin", Status::Serving);
//! assert_eq!(registry.status(""), Status::NotServing, "nothing is resolved yet");
//!
//! reporter.report(Summary::of(3).healthy(1));
//! assert_eq!(registry.status(""), Status::Serving);
//! assert_eq!(registry.status("gateway.UserServise"), Status::Unknown);
//!
//! registry.drain().start();                                                  // SIGTERM
//! assert_eq!(registry.status("gateway.Admin"), Status::NotServing);
//! ```

mod clusters;
mod drain;
mod registry;
mod watch;

pub(crate) use self::clusters::Look;
pub use self::{
    clusters::Clusters,
    drain::Drain,
    registry::{Registry, Status},
    watch::Watch,
};

#[cfg(test)]
mod tests;
