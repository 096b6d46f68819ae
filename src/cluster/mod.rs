//! The forwarding path of a proxy: a service that sends each request on to one of many endpoints, and that never fails.
//!
//! A proxy stands between two connections that know nothing of each other. Headers that speak of one of them must not
//! reach the other; what the caller gives up must be given up upstream within moments; and when an endpoint is gone,
//! the caller must be told in its own language, not by a dropped connection. A [`Cluster`] is a
//! [`Balance`](crate::Balance) that does all of this, with a name, a bound on what it takes on, and its health as a
//! handle.
//!
//! ```no_run
//! use grpc_balance::{cluster::Cluster, policy::RoundRobin, server::Server};
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let user = Cluster::builder("user", "dns:///user-svc:10000").policy(RoundRobin::new()).build()?;
//! Server::bind("0.0.0.0:15001").serve(user, std::future::pending()).await?;
//! # Ok(()) }
//! ```
//!
//! # What passes, and what does not
//!
//! | | |
//! |---|---|
//! | method, path, query, headers, metadata, trailers, a response without body | unchanged, duplicates in order |
//! | bodies, both ways | streamed, with back-pressure; nothing is collected |
//! | the authority | kept, or [rewritten](Builder::rewrite_authority); HTTP/1's `host` becomes HTTP/2's `:authority` |
//! | headers of one hop (`connection` and what it names, `te` but for `trailers`, `transfer-encoding`, ...) | removed |
//! | `x-request-id`, `x-forwarded-proto` | added unless the caller sent them |
//! | `x-forwarded-for` | extended, if [asked for](Builder::forwarded_for) |
//! | cancellation | passed on: a dropped request resets its stream upstream |
//!
//! # When there is no answer
//!
//! gRPC callers get a status in one header block, others an HTTP status and a line of text; see [`reply`](crate::reply).
//! Such a response has the [`Error`](crate::Error) among its extensions, for logs.
//!
//! | what happened | gRPC | HTTP |
//! |---|---|---|
//! | no endpoint, no connection, a connection or stream that broke before the response | 14 UNAVAILABLE, naming phase and endpoint | 503 |
//! | it broke after the headers | trailers with 14 | the connection is reset |
//! | the deadline passed | 4 DEADLINE_EXCEEDED | 504 |
//! | too many requests at once | 14 with `x-envoy-overloaded` | 503 |
//! | gRPC over HTTP/1, whose trailers would be lost | | 505 |
//! | CONNECT; an HTTP/1.1 request without one clear `host` | | 501; 400 |

mod body;
mod builder;
mod future;
mod head;
mod limits;
mod refusal;
mod upstream;
mod workers;

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

pub use self::{body::Body, builder::Builder, future::ResponseFuture, refusal::Unprocessed};
use self::{head::Rules, limits::Limits, upstream::Upstream, workers::Workers};
use crate::{
    connect::{RequestBody, Worker},
    health::Health,
    reply::Caller,
    stats::Snapshot,
};

/// Many endpoints behind one name, as a service that forwards to them. Cheap to clone.
///
/// See the [module docs](self).
#[derive(Clone)]
pub struct Cluster {
    name: Arc<str>,
    /// What requests go out on.
    upstream: Upstream,
    workers: Arc<Workers>,
    rules: Arc<Rules>,
    limits: Arc<Limits>,
}

impl Cluster {
    /// Starts to build a cluster of this name over a target; see [`Channel::builder`](crate::Channel::builder) for
    /// what targets there are.
    pub fn builder(name: impl Into<Arc<str>>, target: impl Into<String>) -> Builder {
        Builder::new(name.into(), target.into())
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How many endpoints are healthy, and why others are not, as a handle that a health check can read.
    #[must_use]
    pub fn health(&self) -> Health {
        self.workers.own().health().named(self.name.clone())
    }

    /// What the cluster and each endpoint are doing and have done.
    #[must_use]
    pub fn stats(&self) -> Snapshot {
        self.workers.stats()
    }

    /// The same cluster with connections of its own on this worker, for a proxy with a
    /// [runtime per core](crate::server::Server::per_core).
    ///
    /// Discovery and probes stay where the cluster was built, as do its limits, its round-robin cursor, its health and
    /// its counters. Outliers are ejected by each worker for itself, by the calls that it sees.
    #[must_use]
    pub fn on(&self, worker: &Worker) -> Self {
        // What can be wrong was found as the cluster was built; its own connections would do as well.
        let upstream = self.workers.on(worker).unwrap_or_else(|_| self.upstream.clone());
        Self { upstream, ..self.clone() }
    }

    /// Requests that are being forwarded now.
    #[must_use]
    pub fn active_requests(&self) -> usize {
        self.limits.active()
    }

    /// Requests that were turned away because too many were being forwarded (Envoy's `upstream_rq_pending_overflow`).
    #[must_use]
    pub fn overflowed_requests(&self) -> u64 {
        self.limits.overflowed()
    }
}

impl<B: RequestBody> Service<Request<B>> for Cluster {
    type Response = Response<Body>;
    type Error = Unprocessed;
    type Future = ResponseFuture<B>;

    /// Always ready: what it cannot take on it answers at once.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Unprocessed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> ResponseFuture<B> {
        let caller = Caller::of(&request);
        if let Some((status, why)) = Rules::objects(&request) {
            return ResponseFuture::objection(status, why);
        }
        let refuses = self.rules.refuses(&request);
        if caller == Caller::Grpc && request.version() < http::Version::HTTP_2 {
            return ResponseFuture::needs_http2();
        }
        // A request that came while the others waited is one more to wait.
        let Some(active) = self.limits.admit(|| self.upstream.waiting_calls()) else {
            return ResponseFuture::overloaded(caller, &self.name);
        };
        self.rules.apply(&mut request);
        ResponseFuture::forward(self.upstream.call(request), caller, refuses, active)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("name", &self.name)
            .field("upstream", &self.upstream)
            .finish_non_exhaustive()
    }
}
