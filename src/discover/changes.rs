//! Snapshots as tower's deltas.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use pin_project::pin_project;
use tower::discover::Change;

use crate::{
    discover::{Feedback, Resolve},
    endpoint::{Endpoint, EndpointKey, EndpointSet},
};

/// A resolver's endpoints as tower's deltas; see [`Resolve::into_discover`].
///
/// A [`Stream`], and thereby a [`Discover`](tower::discover::Discover), of `Change<EndpointKey, Arc<Endpoint>>`. An
/// endpoint whose attributes changed is inserted again under its key. The stream ends when the resolver does, and
/// may be polled after that.
///
/// It never fails: tower's balancer takes any error of its discovery as the end, whereas a resolver's error leaves
/// the last set valid. Errors are logged, and [`Resolve::status`] has the latest.
#[pin_project]
#[derive(Debug)]
pub struct Changes<R> {
    #[pin]
    resolver: Option<R>,
    current: HashMap<EndpointKey, (Arc<Endpoint>, u64)>,
    changes: VecDeque<Change<EndpointKey, Arc<Endpoint>>>,
}

impl<R> Changes<R> {
    pub(super) fn new(resolver: R) -> Self {
        Self { resolver: Some(resolver), current: HashMap::new(), changes: VecDeque::new() }
    }
}

impl<R: Resolve> Changes<R> {
    /// Passes feedback on to the resolver.
    pub fn feedback(self: Pin<&mut Self>, feedback: Feedback) {
        if let Some(resolver) = self.project().resolver.as_pin_mut() {
            resolver.feedback(feedback);
        }
    }
}

impl<R: Resolve> Stream for Changes<R> {
    type Item = Result<Change<EndpointKey, Arc<Endpoint>>, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        loop {
            if let Some(change) = this.changes.pop_front() {
                return Poll::Ready(Some(Ok(change)));
            }
            let Some(resolver) = this.resolver.as_mut().as_pin_mut() else { return Poll::Ready(None) };
            match ready!(resolver.poll_resolve(cx)) {
                Some(Ok(set)) => compare(&set, this.current, this.changes),
                Some(Err(error)) => tracing::debug!(%error, "resolution failed; the last endpoints stay"),
                None => this.resolver.set(None),
            }
        }
    }
}

/// Queues what turns `current` into `set`: arrivals before departures, so that no one runs short in between.
fn compare(
    set: &EndpointSet,
    current: &mut HashMap<EndpointKey, (Arc<Endpoint>, u64)>,
    changes: &mut VecDeque<Change<EndpointKey, Arc<Endpoint>>>,
) {
    let generation = set.generation();
    for endpoint in set.endpoints() {
        if let Some((old, seen)) = current.get_mut(endpoint.key()) {
            *seen = generation;
            if Arc::ptr_eq(old, endpoint) || **old == **endpoint {
                continue;
            }
            *old = endpoint.clone();
        } else {
            current.insert(endpoint.key().clone(), (endpoint.clone(), generation));
        }
        changes.push_back(Change::Insert(endpoint.key().clone(), endpoint.clone()));
    }
    current.retain(|key, (_, seen)| {
        let stays = *seen == generation;
        if !stays {
            changes.push_back(Change::Remove(key.clone()));
        }
        stays
    });
}
