//! Policies: which ready endpoint gets the next call.
//!
//! A [`Policy`] lives on the control plane. Whenever the set of ready endpoints changes it builds a new [`Picker`],
//! an immutable value that answers every call until the next change. A pick takes no lock, allocates nothing and
//! never waits.
//!
//! | policy | picks | use it when |
//! |---|---|---|
//! | [`P2c::least_pending`] (default) | the less busy of two random endpoints | always, unless you know better |
//! | [`P2c::peak_ewma`] | the one of two with the lower expected wait | endpoints differ in speed or distance |
//! | [`RoundRobin`] | every endpoint in turn | calls cost alike and even counts matter |
//! | [`Random`] | any endpoint | nothing may be shared between clients or threads |
//! | [`PickFirst`] | one endpoint for all calls | the address is a balancer's, or state is sticky |
//!
//! All of them honour weight: an endpoint of weight 2 gets twice the calls of one of weight 1, one of weight 0 gets
//! none unless every ready endpoint has weight 0.
//!
//! ```
//! use std::sync::Arc;
//! use grpc_balance::{
//!     endpoint::Endpoint,
//!     load::{Load, SetLoad},
//!     policy::{self, Pick, PickContext, Policy, ReadyEndpoint, ReadySet},
//!     random::Random,
//! };
//! use http::{Extensions, HeaderMap};
//! use tokio::time::Instant;
//!
//! let set = Arc::new(SetLoad::new());
//! let ready: ReadySet = ["10.0.0.1:50051", "10.0.0.2:50051"]
//!     .into_iter()
//!     .map(|address| {
//!         let endpoint: Endpoint = address.parse().unwrap();
//!         ReadyEndpoint::new(Arc::new(endpoint), Arc::new(Load::new(set.clone())))
//!     })
//!     .collect();
//!
//! let picker = policy::RoundRobin::new().build(&ready);
//! let (headers, extensions, random) = (HeaderMap::new(), Extensions::new(), Random::from_os());
//! let context = PickContext::new("/greeter.Greeter/SayHello", &headers, &extensions, &random, Instant::now());
//! let (Pick::Endpoint(a), Pick::Endpoint(b)) = (picker.pick(&context), picker.pick(&context)) else { panic!() };
//! assert_ne!(a, b, "each in turn");
//! ```
//!
//! A policy of one's own implements the same two traits; `examples/custom_policy.rs` has one that prefers its zone.

mod candidates;
mod context;
mod p2c;
mod pick_first;
mod random;
mod ready;
mod round_robin;
mod stride;

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

pub use self::{
    context::PickContext,
    p2c::P2c,
    pick_first::PickFirst,
    random::Random,
    ready::{ReadyEndpoint, ReadySet},
    round_robin::RoundRobin,
};
use crate::{endpoint::EndpointSet, error::Error};

/// Builds pickers; the control plane's half of a balancing decision.
///
/// Both methods are called from the balancer's control task, one at a time, and must not block.
pub trait Policy: Send + Sync + 'static {
    /// The policy's name, as it stands in logs and metrics (`round_robin`).
    fn name(&self) -> &'static str;

    /// Builds the picker for these ready endpoints. Not called for an empty set.
    fn build(&self, ready: &ReadySet) -> Arc<dyn Picker>;

    /// Which endpoints to keep connections to. Default: all of them.
    fn wants(&self, endpoints: &EndpointSet) -> Wants {
        let _ = endpoints;
        Wants::All
    }
}

impl Policy for Arc<dyn Policy> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn build(&self, ready: &ReadySet) -> Arc<dyn Picker> {
        (**self).build(ready)
    }

    fn wants(&self, endpoints: &EndpointSet) -> Wants {
        (**self).wants(endpoints)
    }
}

/// Which endpoints of a set to keep connections to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wants {
    /// Every endpoint.
    All,
    /// These, by their index in the set.
    Only(Vec<usize>),
    /// The first of these that gets ready: they are tried in this order, a later one joins in when an earlier one
    /// fails or takes longer than the connection attempt delay (gRFC A61).
    First(Vec<usize>),
}

/// Chooses an endpoint for one call; the data path's half of a balancing decision.
pub trait Picker: fmt::Debug + Send + Sync + 'static {
    /// Chooses among the endpoints of the [`ReadySet`] that this picker was built from.
    ///
    /// An endpoint that [`PickContext::excludes`] must not be picked: the call was there already, or it has no
    /// stream to spare. When that leaves none, the answer is [`Pick::Queue`].
    fn pick(&self, context: &PickContext<'_>) -> Pick;
}

/// A picker's answer.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "gRPC's four answers; every balancer must handle each")]
pub enum Pick {
    /// Send the call to the endpoint with this index in the ready set.
    Endpoint(usize),
    /// Nothing suits now; ask again when the set of ready endpoints has changed, or, if endpoints were excluded because
    /// they were full, when a stream has come free.
    Queue,
    /// Fail the call with this error, unless it waits for ready: then queue it.
    Fail(Error),
    /// Fail the call with this error, even if it waits for ready, and never retry it.
    Drop(Error),
}
