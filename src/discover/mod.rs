//! Discovery: which endpoints are behind a target, as a stream of whole snapshots.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    endpoint::{EndpointKey, EndpointSet},
    error::Error,
};

/// What a balancer tells its resolver about an endpoint.
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
}
