//! An honest answer to HTTP health checks, on the port that serves gRPC.
//!
//! An L7 load balancer (GKE Ingress, AWS ALB) and a kubelet ask by `GET /`, over HTTP/1.1 or HTTP/2, and expect 200. A
//! gRPC server has nothing there. [`HealthShimLayer`] goes around any HTTP service - a proxy, tonic's `Routes`, an
//! axum `Router` - and answers those requests from what the process knows; all the others go on untouched.
//!
//! - 200 `ok` while the [`Source`] says so, 503 `unavailable` otherwise: before the first resolution, in panic with
//!   none healthy, and while [draining](HealthShimLayer::draining). Never cached.
//! - `GET` and `HEAD` only; a `POST` to the same path is somebody else's.
//! - JSON with counts and causes for those whose `Accept` names `application/json`.
//! - It answers even while the inner service is not ready (see [`answer`](crate::answer)).
//!
//! ```
//! use grpc_balance::{health::{Health, Summary}, shim::HealthShimLayer};
//! use http::{Request, StatusCode};
//! # use http::Response;
//! # use http_body_util::Empty;
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! # use bytes::Bytes;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), std::convert::Infallible> {
//! # let inner = service_fn(async |_: Request<()>| {
//! #     Ok::<_, std::convert::Infallible>(Response::new(Empty::<Bytes>::new()))
//! # });
//! let (reporter, health) = Health::new("service");             // a cluster has one of these
//! let app = ServiceBuilder::new().layer(HealthShimLayer::new(health).path("/")).service(inner);
//!
//! let check = || Request::get("http://10.0.0.1/?x=1").body(()).expect("a request");
//! assert_eq!(app.clone().oneshot(check()).await?.status(), StatusCode::SERVICE_UNAVAILABLE);
//! reporter.report(Summary::of(2).healthy(1));
//! assert_eq!(app.clone().oneshot(check()).await?.status(), StatusCode::OK);
//! # Ok(()) }
//! ```
//!
//! Readiness from several clusters, liveness from nothing but being alive, and `/` for Google's balancer alone, because
//! people find the site there:
//!
//! ```
//! use grpc_balance::serving::{Clusters, Drain};
//! use grpc_balance::shim::{HealthShimLayer, Match, Source};
//! # use grpc_balance::health::Health;
//! # let ((_r, user), (_s, alive)) = (Health::new("user"), Health::new("alive"));
//!
//! let drain = Drain::new();
//! let ready = HealthShimLayer::new(Clusters::all([user, alive]).percent(50))
//!     .path("/readyz")
//!     .matching(Match::gke())
//!     .draining(drain.clone());
//! let live = HealthShimLayer::new(Source::ask(|| true)).path("/livez");
//! let both = tower::ServiceBuilder::new().layer(ready).layer(live);
//! ```

mod accept;
mod layer;
mod matching;
mod render;
mod service;
mod source;

pub use self::{
    layer::HealthShimLayer,
    matching::Match,
    service::{Body, HealthShim, ResponseFuture},
    source::Source,
};

#[cfg(test)]
mod tests;
