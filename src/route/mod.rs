//! Which service takes a request: by path, host and headers, the most specific route first.
//!
//! Several clusters behind one port need a table that says who gets what, and tables like this fail in silence: a
//! prefix that also catches `/gateway.AliveServiceV2`, a route that never matches because another stands before it, a
//! canary whose weights add up to nothing. So a prefix here ends where a path segment ends, the order in which routes
//! are tried follows from what they say, and mistakes are errors of [`build`](Builder::build) that name the routes.
//!
//! ```
//! use grpc_balance::route::{Route, Router, Weighted};
//! use http::{HeaderName, HeaderValue};
//! use std::time::Duration;
//!
//! # fn cluster(name: &'static str) -> &'static str { name }
//! # let (user, alive, stable, canary) = (cluster("user"), cluster("alive"), cluster("stable"), cluster("canary"));
//! let router = Router::builder()
//!     .prefix("/gateway.UserService", user)
//!     .service("gateway.AliveService", alive)
//!     .route(Route::method("gateway.AliveService/Wait").timeout(Duration::from_secs(60)), alive)
//!     .split(Route::service("shop.Cart"), Weighted::new([(stable, 95), (canary, 5)]))
//!     .route(
//!         Route::service("shop.Cart")
//!             .header(HeaderName::from_static("x-canary"), HeaderValue::from_static("1")),
//!         canary,
//!     )
//!     .build()?;
//!
//! let taken = |path: &str| {
//!     let request = http::Request::post(path).body(()).unwrap();
//!     router.matching(&request).map(ToString::to_string)
//! };
//! assert_eq!(taken("/gateway.UserService/Get").as_deref(), Some("prefix `/gateway.UserService`"));
//! assert_eq!(taken("/gateway.UserServiceV2/Get"), None);
//! # Ok::<(), grpc_balance::route::BuildError>(())
//! ```
//!
//! # The order
//!
//! A request goes to the first route that matches, in this order (that of the Kubernetes Gateway API):
//!
//! 1. an exact host, then `*.` hosts, the longest first, then routes for any host;
//! 2. an exact path or method, then prefixes and services, the longest first, and of two of the same length the one by
//!    segments before the textual one; then routes for any path;
//! 3. more headers before fewer;
//! 4. the order of declaration.
//!
//! With this order a route can only be hidden by another that takes exactly the same requests, or by two that share
//! them (`exact("/a")` and `prefix("/a/")` leave nothing to `prefix("/a")`). Both are errors.
//! The table is searched from the top, which takes a few nanoseconds per route.
//!
//! # What is compared
//!
//! The path as it was sent, with its case and its escapes, never the query. Nothing is decoded, and `//` and `..` are
//! not resolved, since no service behind would agree on how: a route is no access control. A request in absolute form
//! (`GET http://host/path`) is taken by its path and its authority. `OPTIONS *` and `CONNECT` have no path; only
//! [`Route::any`] takes them, and `exact("*")` the first.
//!
//! A request that no route takes is answered here, as Envoy does: a gRPC caller gets UNIMPLEMENTED in one header block
//! and no message, any other gets 404 and no body.
//!
//! # Several types
//!
//! All routes lead to one type of service. Where they are of several, box them:
//!
//! ```
//! use bytes::Bytes;
//! use grpc_balance::route::Router;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use std::convert::Infallible;
//! use tower::{service_fn, util::BoxCloneSyncService};
//!
//! type Boxed = BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, Infallible>;
//!
//! let echo = |request: Request<Full<Bytes>>| async { Ok(Response::new(request.into_body())) };
//! let empty = |_: Request<Full<Bytes>>| async { Ok(Response::default()) };
//! let router: Router<Boxed> = Router::builder()
//!     .prefix("/echo", Boxed::new(service_fn(echo)))
//!     .otherwise(Boxed::new(service_fn(empty)))
//!     .build()?;
//! # Ok::<(), grpc_balance::route::BuildError>(())
//! ```
//!
//! # How long a route may take
//!
//! [`Route::timeout`] puts a [`deadline::Cap`](crate::deadline::Cap) on the request, and the
//! [`DeadlineLayer`](crate::deadline::DeadlineLayer) below the router enforces it: [`Builder::layer`] puts one around
//! every service.

mod builder;
mod error;
mod host;
mod path;
mod router;
mod rule;
mod weighted;

pub use self::{
    builder::Builder,
    error::BuildError,
    router::{Body, ResponseFuture, Router},
    rule::Route,
    weighted::Weighted,
};

#[cfg(test)]
mod tests;
