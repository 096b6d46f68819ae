//! One control plane for several balancers.
//!
//! A proxy with a runtime per core has a balancer for each, with connections of its own, so that no request crosses
//! cores. What they must not multiply is the questions asked of DNS and of health checks. So one balancer finds the
//! endpoints and probes them, and the others follow: their sets are its sets, and each endpoint comes with its verdict.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::sync::watch;

use crate::{balance::plane::Plane, discover::Resolve, endpoint::EndpointSet, error::Error};

/// What a balancer has found; `None` before the first answer.
pub(crate) type Found = Option<Result<Arc<EndpointSet>, Error>>;

/// A resolver that yields what another balancer has found. It does not keep that one alive.
pub(crate) struct Follow(Next);

type Next = Pin<Box<dyn Future<Output = Option<(Found, watch::Receiver<Found>)>> + Send>>;

impl Follow {
    pub(crate) fn new(mut found: watch::Receiver<Found>) -> Self {
        found.mark_changed();
        Self(Box::pin(next(found)))
    }
}

async fn next(mut found: watch::Receiver<Found>) -> Option<(Found, watch::Receiver<Found>)> {
    found.changed().await.ok()?;
    let latest = found.borrow_and_update().clone();
    Some((latest, found))
}

impl Resolve for Follow {
    fn poll_resolve(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Arc<EndpointSet>, Error>>> {
        loop {
            let Some((latest, found)) = ready!(self.0.as_mut().poll(cx)) else { return Poll::Ready(None) };
            self.0 = Box::pin(next(found));
            if let Some(latest) = latest {
                return Poll::Ready(Some(latest));
            }
        }
    }
}

/// The current set, each endpoint with the verdict of its probe.
pub(crate) fn found<C>(plane: &Plane<C>, generation: u64) -> Found {
    if !plane.resolved {
        return plane.last_error.clone().map(Err);
    }
    let endpoints = plane.members.iter().map(|member| match &member.state.rest.verdict {
        None => member.endpoint.clone(),
        Some(verdict) => Arc::new((*member.endpoint).clone().with_verdict(verdict.clone())),
    });
    Some(Ok(Arc::new(EndpointSet::from_distinct(Arc::new(endpoints.collect()), generation))))
}
