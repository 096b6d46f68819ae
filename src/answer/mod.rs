//! Answering some requests in front of another service, which gets all the others untouched.
//!
//! What a layer such as [`HealthShimLayer`](crate::shim::HealthShimLayer) returns is either its own answer or the
//! inner service's: [`ResponseFuture`] and [`Body`] are that choice, without boxing what is inside.
//!
//! Such a layer is always ready. Whether a request is for the inner service shows only in the request, and its own
//! answers must come even while the inner service is not ready: that is when a health check matters most. So the
//! inner service's readiness is awaited in the future of the requests that go to it, on a clone of their own; its
//! errors, those of its readiness included, are theirs alone. This is how hyper's and tonic's servers call a service
//! anyway, and what [`Balance`](crate::Balance) does: waiting belongs to the call. A service that holds something
//! while it is ready (a permit, a place in a queue) holds it for no longer than a request needs it.

mod body;
mod future;

pub use self::{body::Body, future::ResponseFuture};
