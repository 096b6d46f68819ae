//! Our connections under somebody else's balancer.
//!
//! `tower::balance::p2c::Balance` wants a [`Discover`](tower::discover::Discover) of services with a
//! [`Load`]. [`Connected`] is that: one [`ConnectedEndpoint`] per discovered endpoint, which reconnects by itself and
//! is ready only while it has a connection that can take a call.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tower::{discover::Change, load::Load};
use tower_service::Service;

use crate::{
    balance::{Balance, Body, ResponseFuture},
    connect::{Connect, Connection, Worker},
    discover::{Fixed, IntoDiscover, Resolve},
    endpoint::{Endpoint, EndpointKey, EndpointSet},
    error::Error,
    stats::ChannelState,
};

/// A [`Discover`](tower::discover::Discover) of connected services; see [`Connected::new`].
#[derive(Debug)]
pub struct Connected<R, C> {
    discover: IntoDiscover<R>,
    connector: C,
    worker: Worker,
}

impl<R: Resolve + Unpin, C: Connect + Clone> Connected<R, C> {
    /// Connects to whatever `resolver` finds.
    ///
    /// # Errors
    ///
    /// When called outside a tokio runtime.
    pub fn new(resolver: R, connector: C) -> Result<Self, Error> {
        Ok(Self { discover: resolver.into_discover(), connector, worker: Worker::current()? })
    }
}

impl<R: Resolve + Unpin, C: Connect + Clone + Unpin> Stream for Connected<R, C> {
    type Item = Result<Change<EndpointKey, ConnectedEndpoint<C>>, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let change = match ready!(Pin::new(&mut this.discover).poll_next(cx)) {
            Some(Ok(Change::Insert(key, endpoint))) => {
                ConnectedEndpoint::new(endpoint, this.connector.clone(), this.worker.clone())
                    .map(|service| Change::Insert(key, service))
            }
            Some(Ok(Change::Remove(key))) => Ok(Change::Remove(key)),
            Some(Err(error)) => Err(error),
            None => return Poll::Ready(None),
        };
        Poll::Ready(Some(change))
    }
}

/// One endpoint as a service: ready while connected, and reconnecting by itself while not.
///
/// Its [`Load`] is the number of calls that count as pending.
pub struct ConnectedEndpoint<C: Connect> {
    balance: Balance<C>,
    changed: Option<BoxFuture<'static, ()>>,
}

impl<C: Connect> ConnectedEndpoint<C> {
    fn new(endpoint: Arc<Endpoint>, connector: C, worker: Worker) -> Result<Self, Error> {
        let target = endpoint.to_string();
        let balance = Balance::builder(Fixed::from_set(EndpointSet::new([endpoint], 1)), connector).target(target).worker(worker).build()?;
        Ok(Self { balance, changed: None })
    }
}

impl<C, B> Service<Request<B>> for ConnectedEndpoint<C>
where
    C: Connect,
    C::Connection: Connection<B>,
{
    type Response = Response<Body<<C::Connection as Connection<B>>::Body>>;
    type Error = Error;
    type Future = ResponseFuture<C, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            if let Some(changed) = &mut self.changed {
                ready!(changed.as_mut().poll(cx));
                self.changed = None;
            }
            let mut watch = self.balance.watch();
            if watch.borrow_and_update().state() == ChannelState::Ready {
                return Poll::Ready(Ok(()));
            }
            self.changed = Some(Box::pin(async move {
                // The sender lives as long as the balancer, which this service holds.
                let _ = watch.changed().await;
            }));
        }
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture<C, B> {
        self.balance.call(request)
    }
}

impl<C: Connect> Load for ConnectedEndpoint<C> {
    type Metric = u64;

    fn load(&self) -> u64 {
        let snapshot = self.balance.core.shared.published.load();
        let now = tokio::time::Instant::now();
        snapshot.ready.endpoints().iter().map(|ready| ready.load().pending(now)).sum()
    }
}

impl<C: Connect> std::fmt::Debug for ConnectedEndpoint<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ConnectedEndpoint").field(&self.balance).finish()
    }
}
