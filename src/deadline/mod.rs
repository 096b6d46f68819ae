//! How long a call may take, enforced where it enters.
//!
//! A gRPC client says how long it waits in `grpc-timeout`, and gives up by itself when that has passed. What is left to
//! a proxy: to stop working for a client that is gone, whatever the service behind does; to tell that service how much
//! time is left, rather than how much there was; and to set limits of its own, for callers that say nothing.
//! [`DeadlineLayer`] does this around any service.
//!
//! ```
//! use bytes::Bytes;
//! use grpc_balance::deadline::DeadlineLayer;
//! use http::{Request, Response, header::CONTENT_TYPE};
//! use http_body_util::Empty;
//! use std::{convert::Infallible, time::Duration};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let sleeper = service_fn(|_request: Request<()>| async {
//!     tokio::time::sleep(Duration::from_secs(60)).await;
//!     Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
//! });
//! let service = DeadlineLayer::new().cap(Duration::from_secs(15)).layer(sleeper);
//!
//! let request = Request::post("/a.B/C").header("grpc-timeout", "250m").header(CONTENT_TYPE, "application/grpc");
//! let response = service.oneshot(request.body(())?).await?;
//! assert_eq!(response.headers()["grpc-status"], "4");
//! assert_eq!(response.headers()["grpc-message"], "the deadline of 250ms passed");
//! # Ok(())
//! # }
//! ```
//!
//! # What counts
//!
//! The deadline of a request is the soonest of three, counted from its arrival at this layer:
//!
//! - a gRPC caller's `grpc-timeout`; one that is malformed is refused with INVALID_ARGUMENT, since to ignore it would
//!   be to wait for ever;
//! - the [`cap`](DeadlineLayer::cap) of the layer;
//! - the [`Cap`] in the request's extensions, where a [router](crate::route) puts the timeout of its route.
//!
//! Without any of them there is none: no default kills a stream that is meant to be quiet for hours.
//!
//! It covers the wait for the inner service to be ready, the response's headers, and its body to the end. The inner
//! service is told in `grpc-timeout` what is left when it is called, rounded up, if the caller speaks gRPC.
//!
//! # What happens when it passes
//!
//! The inner future, or the inner body, is dropped at once, which cancels the call upstream. A gRPC caller gets status
//! 4, DEADLINE_EXCEEDED, alone or as the trailers of a response that has begun; any other caller gets 504, or a body
//! that ends with the error [`Elapsed`]. A status that the inner service sends later than that is not heard.
//!
//! That holds for a client that stands still, too: the call upstream ends in time, and the client is told when it reads
//! on. What a body with a deadline pays for it is two allocations and a timer.

mod body;
mod elapsed;
mod future;
mod layer;
mod timer;
mod watched;

pub use self::{
    body::Body,
    elapsed::Elapsed,
    future::ResponseFuture,
    layer::{Cap, Deadline, DeadlineLayer},
};

#[cfg(test)]
mod tests;
