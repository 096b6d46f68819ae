//! Passive outlier detection: an endpoint that serves worse than the others gets no calls for a while.
//!
//! A pod may pass its health checks and still fail a third of its calls: its disk is full, its node's network drops
//! packets, it was deployed with the wrong secret. Only its calls tell, and only by comparison, since a database that
//! is down fails the calls of all pods alike. So the calls of each endpoint are counted, and at every interval a
//! *sweep* compares them and *ejects* what stands out: for 30 s the first time, longer at each relapse, and never more
//! than a tenth of the set. Its connection stays up.
//!
//! The rules are those of [gRFC A50](https://github.com/grpc/proposal/blob/master/A50-xds-outlier-detection.md),
//! success rate and failure percentage, and two of Envoy's [outlier detection], which need no sweep: several gateway
//! errors, or several failures of the transport, in a row. [`Eject`] holds the settings; [`Eject::a50`] is A50 to the
//! letter.
//!
//! [`Outliers`] is the state machine. It does no I/O and reads no clock: whoever drives it brings the time, the counts
//! and the randomness. Two lock-free parts stand where the calls are: [`Streak`] counts the failures in a row, and
//! [`Trial`] lets one call at a time through to an endpoint that comes back.
//!
//! ```
//! use std::time::Duration;
//! use grpc_balance::{eject::{Change, Counts, Eject, Outliers}, random::Random};
//! use tokio::time::Instant;
//!
//! let (start, random) = (Instant::now(), Random::from_os());
//! let mut outliers = Outliers::new(Eject::new(), start)?;
//! for endpoint in 0..20 {
//!     outliers.insert(endpoint);
//! }
//!
//! // Ten seconds later: of 200 calls each, those to endpoint 7 failed 60 times, the others never.
//! let counts = |endpoint| if endpoint == 7 { Counts::new(140, 60) } else { Counts::new(200, 0) };
//! let sweep = outliers.next_wake().ok_or("nothing is switched on")?;
//! let changes = outliers.sweep(sweep, (0..20).map(|endpoint| (endpoint, counts(endpoint))), &random);
//!
//! let [Change::Ejected { key: 7, until, cause, .. }] = changes.as_slice() else { panic!("{changes:?}") };
//! assert_eq!(*until, sweep + Duration::from_secs(30));
//! assert_eq!(cause.to_string(), "success rate 70.0 % of 200 calls, below the limit of 86.1 %");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [outlier detection]: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier

mod cause;
mod counts;
mod detect;
mod outliers;
mod rule;
mod settings;
mod streak;
mod sync;
mod trial;

pub use self::{
    cause::Cause,
    counts::Counts,
    outliers::{Change, Outliers},
    rule::{FailurePercentage, SuccessRate},
    settings::{Eject, InvalidEject},
    streak::{Kind, Streak},
    trial::{Admission, Trial, TrialCall},
};

#[cfg(test)]
mod tests;

#[cfg(all(test, model))]
mod model;
