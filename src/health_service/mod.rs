//! `grpc.health.v1`, served: what gRPC clients, grpc-health-probe and kubelets ask.
//!
//! [`HealthService`] serves Check, Watch and List (gRFC A90) from a [`Registry`](crate::serving::Registry);
//! [`HealthServiceLayer`] puts it in front of any HTTP service, a proxy or tonic's `Routes`. It needs no tonic.
//!
//! | | |
//! |---|---|
//! | Check of an unknown name | NOT_FOUND |
//! | Watch of an unknown name | SERVICE_UNKNOWN, and goes on: the name may come |
//! | Watch | a message at once, then one for each change; a slow reader gets the latest |
//! | List of more than 100 names | RESOURCE_EXHAUSTED |
//! | draining | NOT_SERVING for every known name; a Watch goes on until the connections close |
//! | another method | UNIMPLEMENTED, never the inner service's |
//!
//! A proxy must choose whether health is its own or its backends'. With this layer it is its own; without it the
//! service is routed like any other.
//!
//! ```
//! use grpc_balance::{health_service::HealthServiceLayer, serving::{Registry, Status}};
//! # use http::{Request, Response};
//! # use http_body_util::Empty;
//! # use bytes::Bytes;
//!
//! let registry = Registry::new();
//! registry.set("helloworld.Greeter", Status::Serving);
//! # let routes = tower::service_fn(async |_: Request<Empty<Bytes>>| {
//! #     Ok::<_, std::convert::Infallible>(Response::new(Empty::<Bytes>::new()))
//! # });
//! let app = tower::ServiceBuilder::new().layer(HealthServiceLayer::new(registry)).service(routes);
//! ```

mod body;
mod frame;
mod future;
mod layer;
mod refusal;
mod service;

pub use self::{
    body::Body,
    future::ResponseFuture,
    layer::{BesideHealth, HealthServiceLayer},
    service::HealthService,
};

#[cfg(test)]
mod tests;
