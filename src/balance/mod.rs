//! The balancer: one tower service over all endpoints behind a name.
//!
//! A gRPC connection lives long and carries many calls, so balancing connections balances nothing. [`Balance`]
//! chooses an endpoint for every call, among those whose connection is ready at that moment.
//!
//! Two halves work apart. A control task follows discovery, keeps connections and publishes immutable snapshots; it
//! runs whether or not calls come. A call reads the latest snapshot, picks, and sends, all in its caller's own task:
//! no queue, no worker, no lock of ours in between. A call that finds nothing ready waits in its own future, where
//! its deadline and its cancellation apply; therefore [`poll_ready`](tower_service::Service::poll_ready) is always
//! ready.
//!
//! ```
//! use grpc_balance::{Balance, connect::Connector, discover::Fixed, endpoint::Endpoint, policy::RoundRobin};
//! use http::uri::Authority;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let endpoints: [Endpoint; 2] = ["127.0.0.1:50051".parse()?, "127.0.0.2:50051".parse()?];
//! let connector = Connector::builder(Authority::from_static("greeter:50051")).build()?;
//! let balance = Balance::builder(Fixed::new(endpoints), connector).policy(RoundRobin::new()).build()?;
//! # drop(balance); Ok(()) }
//! ```
//!
//! # Waiting or failing
//!
//! | no endpoint is ready, and | a call | a call that waits for ready |
//! |---|---|---|
//! | the first resolution is pending | waits | waits |
//! | an endpoint is on its first attempt, or reconnects after a loss | waits | waits |
//! | the first resolution failed | fails, UNAVAILABLE | waits |
//! | the target has no endpoints | fails, UNAVAILABLE | waits |
//! | every endpoint's latest attempt failed | fails, UNAVAILABLE | waits |
//!
//! Whoever waits does so until the call's deadline; DEADLINE_EXCEEDED then carries the latest obstacle.

mod body;
mod builder;
mod call;
mod checks;
mod choose;
mod connected;
mod control;
mod deadline;
mod detour;
mod ejection;
mod exclusions;
#[cfg(feature = "proxy")]
mod follow;
mod members;
mod plane;
mod probing;
mod published;
mod race;
mod record;
mod retired;
mod shared;
mod snapshot;
mod standing;
mod state;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tokio::sync::watch;
use tower_service::Service;

use self::shared::Core;
pub use self::{
    body::Body,
    builder::Builder,
    call::ResponseFuture,
    connected::{Connectable, Connected, ConnectedEndpoint},
    state::Connectivity,
};
use crate::{
    connect::{Connect, Connection},
    discover::Resolve,
    endpoint::Endpoint,
    error::Error,
    health::Health,
    stats::Snapshot,
};

/// A service that sends each call to one of many endpoints. Cheap to clone.
///
/// See the [module docs](self) for what it does. The last clone, the last pending call and the last unfinished
/// response together keep the control task and the connections alive; when they are gone, so are these.
pub struct Balance<C: Connect> {
    core: Arc<Core<C>>,
}

impl<C: Connect> Balance<C> {
    /// A balancer over what `resolver` finds, with connections that `connector` makes.
    pub fn builder(resolver: impl Resolve, connector: C) -> Builder<C> {
        Builder::new(Box::pin(resolver), connector)
    }

    /// The connectivity of the whole, as it changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Connectivity> {
        self.core.shared.connectivity.subscribe()
    }

    /// A resolver that yields what this balancer has found, each endpoint with its verdict.
    #[cfg(feature = "proxy")]
    pub(crate) fn follow(&self) -> impl Resolve + use<C> {
        let shared = &self.core.shared;
        let found = shared.found.subscribe();
        // The control plane tells what is new from now on; what is known already is told here.
        shared.found.send_replace(follow::found(&shared.plane(), 0));
        follow::Follow::new(found)
    }

    /// Calls that wait for an endpoint now.
    #[must_use]
    pub fn waiting_calls(&self) -> u64 {
        self.core.shared.stats.waiting_calls()
    }

    /// How many endpoints are healthy, and why others are not, as a handle that a health check can read.
    ///
    /// It does not keep the balancer alive.
    #[must_use]
    pub fn health(&self) -> Health {
        self.core.shared.health.clone()
    }

    /// What the balancer and each endpoint are doing and have done.
    #[must_use]
    pub fn stats(&self) -> Snapshot {
        self.core.shared.stats_snapshot()
    }
}

impl<C, B> Service<Request<B>> for Balance<C>
where
    C: Connect,
    C::Connection: Connection<B>,
{
    type Response = Response<Body<<C::Connection as Connection<B>>::Body>>;
    type Error = Error;
    type Future = ResponseFuture<C, B>;

    /// Always ready: waiting happens in the call's future.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture<C, B> {
        ResponseFuture::new(self.core.clone(), request)
    }
}

impl<C: Connect> Clone for Balance<C> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone() }
    }
}

impl<C: Connect> fmt::Debug for Balance<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balance")
            .field("target", &self.core.shared.target)
            .field("connectivity", &*self.core.shared.connectivity.borrow())
            .finish_non_exhaustive()
    }
}

/// A request extension: whether this call waits for an endpoint to be ready instead of failing at once when there is
/// no reason to expect one (gRPC's wait-for-ready). Overrides the channel's default.
///
/// ```
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(grpc_balance::WaitForReady(true));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a switch, to be built by callers")]
pub struct WaitForReady(pub bool);

/// A response extension: who served the call.
#[derive(Clone, Debug)]
pub struct Peer {
    endpoint: Arc<Endpoint>,
    attempts: u32,
}

impl Peer {
    pub(crate) fn new(endpoint: Arc<Endpoint>, attempts: u32) -> Self {
        Self { endpoint, attempts }
    }

    /// The endpoint that answered.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// How many endpoints the call was sent to, the one that answered included: 1 unless it was refused, provably
    /// unprocessed, before.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}
