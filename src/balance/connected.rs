//! Our connections under somebody else's balancer.
//!
//! `tower::balance::p2c::Balance` wants a [`Discover`](tower::discover::Discover) of services with a
//! [`Load`]. [`Connected`] is that: one [`ConnectedEndpoint`] per discovered endpoint, which reconnects by itself and
//! is ready only while it has a connection that can take a call.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tokio::sync::mpsc;
use tower::{discover::Change, load::Load};
use tower_service::Service;

use crate::{
    balance::{Balance, Body, ResponseFuture},
    connect::{Connect, Connection, Worker, dial::DialLimit},
    discover::{Changes, Feedback, Pushed, PushedHandle, Resolve},
    endpoint::{Endpoint, EndpointKey, EndpointSet},
    error::Error,
    stats::ChannelState,
};

/// A [`Discover`](tower::discover::Discover) of connected services; see the [module docs](crate::balance).
///
/// An endpoint whose attributes change keeps its service and its connection. What becomes of the connections is told
/// to the resolver, which may look for other endpoints early.
#[derive(Debug)]
pub struct Connected<R, C> {
    changes: Changes<R>,
    connector: C,
    worker: Worker,
    /// One for all, as one balancer over them would have.
    dials: DialLimit,
    known: HashMap<EndpointKey, PushedHandle>,
    report: mpsc::UnboundedSender<Feedback>,
    reports: mpsc::UnboundedReceiver<Feedback>,
}

impl<R: Resolve + Unpin, C: Connect + Clone> Connected<R, C> {
    /// Connects to whatever `resolver` finds.
    ///
    /// # Errors
    ///
    /// FAILED_PRECONDITION outside a tokio runtime.
    pub fn new(resolver: R, connector: C) -> Result<Self, Error> {
        let (report, reports) = mpsc::unbounded_channel();
        let worker = Worker::current()?;
        Ok(Self {
            changes: resolver.into_discover(),
            connector,
            worker,
            dials: DialLimit::default(),
            known: HashMap::new(),
            report,
            reports,
        })
    }

    /// A service for an endpoint that is new.
    fn insert(&mut self, endpoint: Arc<Endpoint>) -> Option<ConnectedEndpoint<C>> {
        if let Some(handle) = self.known.get(endpoint.key()) {
            handle.insert(endpoint);
            return None;
        }
        let (handle, pushed) = Pushed::new();
        handle.insert(endpoint.clone());
        let resolver = Reporting { endpoint: pushed, report: self.report.clone() };
        let balance = Balance::builder(resolver, self.connector.clone())
            .target(endpoint.to_string())
            .dial_limit(self.dials.clone())
            .worker(self.worker.clone())
            .build()
            // It fails for want of a worker only.
            .ok()?;
        self.known.insert(endpoint.key().clone(), handle);
        Some(ConnectedEndpoint { balance, changed: None })
    }
}

/// The connected form of any resolver.
///
/// ```
/// use grpc_balance::{balance::Connectable, connect::Connector, discover::Fixed, endpoint::Endpoint};
/// use http::uri::Authority;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let endpoints: [Endpoint; 2] = ["127.0.0.1:50051".parse()?, "127.0.0.2:50051".parse()?];
/// let connector = Connector::builder(Authority::from_static("greeter:50051")).build()?;
/// let connected = Fixed::new(endpoints).connected(connector)?;
/// let balance = tower::balance::p2c::Balance::<_, http::Request<tonic::body::Body>>::new(connected);
/// # drop(balance); Ok(()) }
/// ```
pub trait Connectable: Resolve + Unpin + Sized {
    /// Connects to whatever this finds: the same as [`Connected::new`].
    ///
    /// # Errors
    ///
    /// FAILED_PRECONDITION outside a tokio runtime.
    fn connected<C: Connect + Clone>(self, connector: C) -> Result<Connected<Self, C>, Error> {
        Connected::new(self, connector)
    }
}

impl<R: Resolve + Unpin> Connectable for R {}

impl<R: Resolve + Unpin, C: Connect + Clone + Unpin> Stream for Connected<R, C> {
    type Item = Result<Change<EndpointKey, ConnectedEndpoint<C>>, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        while let Poll::Ready(Some(feedback)) = this.reports.poll_recv(cx) {
            Pin::new(&mut this.changes).feedback(feedback);
        }
        loop {
            match ready!(Pin::new(&mut this.changes).poll_next(cx)) {
                Some(Ok(Change::Insert(key, endpoint))) => {
                    if let Some(service) = this.insert(endpoint) {
                        return Poll::Ready(Some(Ok(Change::Insert(key, service))));
                    }
                }
                Some(Ok(Change::Remove(key))) => {
                    this.known.remove(&key);
                    return Poll::Ready(Some(Ok(Change::Remove(key))));
                }
                Some(Err(never)) => match never {},
                None => return Poll::Ready(None),
            }
        }
    }
}

/// The set of one endpoint, which passes on what it hears of it.
struct Reporting {
    endpoint: Pushed,
    report: mpsc::UnboundedSender<Feedback>,
}

impl Resolve for Reporting {
    fn poll_resolve(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Arc<EndpointSet>, Error>>> {
        Pin::new(&mut self.endpoint).poll_resolve(cx)
    }

    fn feedback(self: Pin<&mut Self>, feedback: Feedback) {
        // Nobody listens once the discovery is gone.
        let _ = self.report.send(feedback);
    }
}

/// One endpoint as a service: ready while connected, and reconnecting by itself while not.
///
/// Its [`Load`] is the number of calls that count as pending.
pub struct ConnectedEndpoint<C: Connect> {
    balance: Balance<C>,
    changed: Option<BoxFuture<'static, ()>>,
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

impl<C: Connect> fmt::Debug for ConnectedEndpoint<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnectedEndpoint").field(&self.balance).finish()
    }
}
