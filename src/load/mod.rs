//! How busy an endpoint is, counted from the pick to the end of the stream.
//!
//! A balancer that measures load wrongly is worse than one that does not measure it. Counting until the response's
//! headers misses streams; counting only successes lets an endpoint that fails at once look idle and fast, so that it
//! draws the traffic of the whole set. So a call is counted from its pick until its last frame, its reset or its
//! drop, and a failure that speaks of the endpoint goes on counting for twice as long as a successful call takes.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use grpc_balance::{grpc::Outcome, load::{InFlight, Load, SetLoad}};
//! use tokio::time::Instant;
//!
//! let set = Arc::new(SetLoad::default());
//! let load = Arc::new(Load::new(set));
//! let picked = Instant::now();
//!
//! let mut call = InFlight::start(load.clone(), picked);
//! assert_eq!(load.pending(picked), 1);
//!
//! let done = picked + Duration::from_millis(10);
//! call.headers_arrived(done);
//! call.finish(Outcome::Success, done);
//! assert_eq!(load.pending(done), 0);
//! assert_eq!(load.latency(done), Some(Duration::from_millis(10)));
//!
//! // This one fails after 0.1 ms, and counts until 20 ms after its pick.
//! let call = InFlight::start(load.clone(), done);
//! call.finish(Outcome::Failure, done + Duration::from_micros(100));
//! assert_eq!(load.pending(done + Duration::from_millis(19)), 1);
//! assert_eq!(load.pending(done + Duration::from_millis(25)), 0);
//! ```

mod clock;
mod conduct;
mod gauge;
mod histogram;
mod holds;
mod in_flight;
mod latency;
mod readings;
mod record;
mod set;
mod streak;
mod sync;

pub(crate) use self::{conduct::Conduct, gauge::Place, readings::Readings};
pub use self::{
    histogram::Latencies,
    in_flight::InFlight,
    record::{Calls, Load, LoadId},
    set::SetLoad,
    streak::{Kind, Streak},
};

#[cfg(test)]
mod tests;

#[cfg(all(test, model))]
mod model;
