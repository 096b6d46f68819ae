//! A line for every request, once it is over.
//!
//! An HTTP access log says `200` for every gRPC call, the failed ones too: the status comes in trailers, after the
//! line is usually written. And a log that is slow to write must not slow down what it is about. So a [`Record`] here
//! is complete when the response's body has ended, the caller has gone or the body has failed; it knows the gRPC
//! status, the endpoint, how many were tried and in which phase a failure happened; and it is formatted and written by
//! a thread of its own, behind a bounded queue. When the queue is full, lines are dropped and counted, and requests do
//! not wait.
//!
//! ```
//! use bytes::Bytes;
//! use grpc_balance::access_log::{AccessLogLayer, RequestBody};
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use std::{convert::Infallible, io};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), grpc_balance::error::BoxError> {
//! let service = service_fn(|request: Request<RequestBody<Full<Bytes>>>| async {
//!     Ok::<_, Infallible>(Response::new(request.into_body()))
//! });
//! let log = AccessLogLayer::stdout();                     // or `AccessLogLayer::builder().json().to(file)`
//! let service = log.layer(service);
//!
//! let response = service.oneshot(Request::new(Full::from("hello"))).await?;
//! response.into_body().collect().await?;                  // now there is a line
//! log.flush().await;                                      // and now it is written
//! assert_eq!(log.dropped(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! # The line
//!
//! That of Envoy's default format, with three fields more at its end:
//!
//! ```text
//! [2026-11-20T08:38:41.829Z] "POST /a.B/C HTTP/2" 200 - 9 246 1 1 "-" "grpc-go/1.80" "40e3" "a.example" "10.0.0.7:50051" grpc=0 attempts=1 phase=-
//! ```
//!
//! Start (UTC), request line, HTTP status, flags, body bytes from the caller, body bytes to the caller, milliseconds
//! to the end, milliseconds to the headers of an upstream's response, `x-forwarded-for`, user agent, `x-request-id`,
//! authority, upstream; then the gRPC status, how many endpoints were tried, and the [phase](crate::error::Phase) of a
//! failure. `-` stands for what there is none of, and 0 for the HTTP status of a response that never began. What
//! callers sent is escaped, so that a line is a line.
//!
//! The flags are Envoy's: `DC` the caller went away, `UT` the deadline passed, `UF` no connection, `UR` the
//! upstream failed on the stream, `UO` a limit was reached, `UH` no endpoint.
//!
//! [`Builder::json`] writes one JSON object per line with the same fields; [`Builder::format`] takes a closure or any
//! [`Format`] over the [`Record`].
//!
//! # Where to put it
//!
//! Outermost, around everything whose answers should be in the log; but below a translation from gRPC-Web, behind
//! which no trailers are left to read. Endpoint and attempts are read from the [`Peer`](crate::Peer) among the
//! response's extensions, the phase from an [`Error`](crate::Error) there or behind the error of a body.
//!
//! # What it costs
//!
//! A request pays for one allocation, the clock, the count of its body's bytes and a place in the queue; formatting and
//! writing are not on its path. A queue holds 8 192 records by default, and each keeps the few headers that it shows.

mod body;
mod entry;
mod format;
mod future;
mod json;
mod layer;
mod line;
mod record;
mod timestamp;
mod writer;

pub use self::{
    body::{Body, RequestBody},
    format::Format,
    future::ResponseFuture,
    json::Json,
    layer::{AccessLog, AccessLogLayer, Builder},
    line::Line,
    record::{End, Record},
    timestamp::Timestamp,
};

#[cfg(test)]
mod tests;
