//! Discovery: which endpoints are behind a target, as a stream of whole snapshots.
//!
//! A resolver is a [`Resolve`]. [`Fixed`] knows its endpoints beforehand, [`Pushed`] is told of them by the program,
//! `Dns` asks for them, and [`FromDiscover`] takes them from any tower [`Discover`](tower::discover::Discover). A
//! snapshot says more than a series of changes can: "resolved, and empty"; everything replaced at once; the
//! attributes of an endpoint that stays.
//!
//! ```
//! use std::net::SocketAddr;
//! use grpc_balance::{discover::{Pushed, Resolve}, endpoint::Endpoint};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let (handle, mut resolver) = Pushed::new();
//! for port in 50051..50054 {
//!     handle.insert(Endpoint::new(SocketAddr::from(([10, 0, 0, 1], port))));
//! }
//! let set = std::future::poll_fn(|cx| std::pin::Pin::new(&mut resolver).poll_resolve(cx)).await;
//! assert_eq!(set.unwrap().unwrap().len(), 3);
//! # }
//! ```
//!
//! Where tower's deltas are wanted, [`Resolve::into_discover`] turns any resolver into them.

mod changes;
#[cfg(feature = "dns")]
pub mod dns;
mod fixed;
mod for_target;
mod from_discover;
mod literal;
mod pushed;
mod roster;
mod status;
#[cfg(test)]
mod tests;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

pub use self::{
    changes::Changes,
    fixed::Fixed,
    for_target::for_target,
    from_discover::FromDiscover,
    pushed::{Pushed, PushedHandle},
    status::Status,
};
#[cfg(feature = "dns")]
pub use self::{
    dns::{Dns, DnsConfig},
    for_target::for_target_with_dns,
};
use crate::{
    endpoint::{EndpointKey, EndpointSet},
    error::Error,
};

/// What a balancer tells its resolver about an endpoint.
///
/// Losses make a resolver look again before it is due, and believe sooner that an endpoint is gone; a success clears
/// the suspicion. So a balancer reports each attempt's end, not only the bad ones.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Feedback {
    /// A connection to the endpoint could not be made, or broke.
    Failed(EndpointKey),
    /// The endpoint said GOAWAY.
    GoingAway(EndpointKey),
    /// A connection to the endpoint was established.
    Connected(EndpointKey),
}

/// A stream of whole endpoint sets.
///
/// Polled by the balancer's control task. An error does not end the stream and does not invalidate the last set:
/// the balancer keeps it. `None` ends the stream: the last set is final.
pub trait Resolve: Send + 'static {
    /// Polls for the next change.
    fn poll_resolve(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Arc<EndpointSet>, Error>>>;

    /// Tells the resolver what became of an endpoint, so that it may refresh early. Default: ignored.
    fn feedback(self: Pin<&mut Self>, feedback: Feedback) {
        let _ = feedback;
    }

    /// A handle that tells how resolving goes, if this resolver keeps one. Default: none.
    ///
    /// A resolver that asks again and again confirms the same set many times without yielding it anew; the handle
    /// tells when it last did.
    fn status(&self) -> Option<Status> {
        None
    }

    /// The same endpoints as a tower [`Discover`](tower::discover::Discover) of deltas.
    fn into_discover(self) -> Changes<Self>
    where
        Self: Sized,
    {
        Changes::new(self)
    }
}

impl<R: Resolve + ?Sized> Resolve for Pin<Box<R>> {
    fn poll_resolve(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Arc<EndpointSet>, Error>>> {
        self.get_mut().as_mut().poll_resolve(cx)
    }

    fn feedback(self: Pin<&mut Self>, feedback: Feedback) {
        self.get_mut().as_mut().feedback(feedback);
    }

    fn status(&self) -> Option<Status> {
        self.as_ref().get_ref().status()
    }
}
