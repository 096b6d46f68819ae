//! Which endpoints are fit for calls, and how many: the verdicts, and a handle that anything can read.
//!
//! A connection that is up says little: the process behind it may be starting, overloaded or shutting down. Probes
//! ask it, outlier ejection watches what it does, and both end in a verdict. A load balancer in front, a readiness
//! probe and a dashboard want the sum of these verdicts, without a round trip through text: [`Health`] is that sum.
//!
//! - [`Judge`] turns what single checks found into a [`Verdict`], without flapping.
//! - [`Summary`] counts the verdicts of a cluster's endpoints; [`Health`] is a handle that follows it.
//!
//! ```
//! use grpc_balance::health::{Health, Summary};
//!
//! let (reporter, health) = Health::new("greeter");
//! assert!(!health.now().is_resolved(), "nothing is known at first");
//!
//! reporter.report(Summary::of(3).healthy(2));
//! assert_eq!(health.now().healthy_count(), 2);
//! ```

mod judge;
#[cfg(any(feature = "probe", feature = "server"))]
pub(crate) mod proto;
mod summary;

pub use self::{
    judge::{Finding, Judge, Thresholds, Verdict},
    summary::{Health, Reporter, Summary},
};
