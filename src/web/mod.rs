//! gRPC for browsers: gRPC-Web translated to gRPC and back, and CORS for it.
//!
//! A browser's script can neither send HTTP/2 frames nor read trailers, and may read nothing at all from another origin
//! unless the answer says so. gRPC-Web puts the trailers into a last frame of the body, in base64 if asked to
//! ([PROTOCOL-WEB](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md)). [`GrpcWebLayer`] goes around any
//! service that speaks gRPC - a proxy, tonic's `Routes` - and lets native gRPC and everything else on the same port pass
//! untouched; [`cors`] goes around that.
//!
//! ```
//! use grpc_balance::web::{self, GrpcWebLayer, Origins};
//! use http::{Request, header::CONTENT_TYPE};
//! use http_body_util::{BodyExt, Full};
//! # use {bytes::Bytes, http::{HeaderMap, HeaderValue, Response}, http_body_util::Empty};
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! # let grpc = service_fn(async |request: Request<web::RequestBody<Full<Bytes>>>| {
//! #     assert_eq!(request.headers()["content-type"], "application/grpc+proto");
//! #     let mut response = Response::new(Empty::<Bytes>::new().with_trailers(async {
//! #         Some(Ok(HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))])))
//! #     }));
//! #     response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
//! #     Ok::<_, std::convert::Infallible>(response)
//! # });
//! let app = ServiceBuilder::new()
//!     .layer(web::cors(Origins::list(["https://app.example"])?))
//!     .layer(GrpcWebLayer::new())
//!     .service(grpc);
//!
//! let request = Request::post("http://api.example/shop.Cart/Clear")
//!     .header(CONTENT_TYPE, "application/grpc-web+proto")
//!     .header("origin", "https://app.example")
//!     .body(Full::from(vec![0; 5]))?;
//! let response = app.oneshot(request).await?;
//! assert_eq!(response.headers()["content-type"], "application/grpc-web+proto");
//! assert_eq!(response.headers()["access-control-allow-origin"], "https://app.example");
//! assert_eq!(response.into_body().collect().await?.to_bytes()[..], *b"\x80\0\0\0\x0fgrpc-status:0\r\n");
//! # Ok(()) }
//! ```
//!
//! # What is translated
//!
//! `POST` with `application/grpc-web` or `application/grpc-web-text`, a message format (`+proto`) or parameters behind
//! it, over HTTP/1.1 and HTTP/2. Bodies stream, one chunk at a time in memory, and a reader that stands still holds up
//! the writer. Padding may stand anywhere in base64, as PROTOCOL-WEB allows, and groups may be cut anywhere.
//!
//! The reply is text only if `Accept` says so; a text request without `Accept` gets a binary reply, as from Envoy.
//!
//! | the call ends with | and the caller reads |
//! |---|---|
//! | trailers, even of an empty OK | a last frame: `0x80`, its length, `name:value` lines |
//! | an error without a body | the status in the headers, `content-length: 0` |
//! | a page of HTTP (503, a proxy's text) | the status that gRPC reads into it, the start of the text as its message |
//! | a failure between messages | a last frame: the failure's code, or UNKNOWN, and what happened |
//! | a failure within a message | a broken body: a frame would be read as the rest of the message |
//! | no status at all | a last frame with UNKNOWN |
//! | a request that is no base64, or that has trailers | HTTP 400 with `grpc-status: 13`, if nothing was answered yet |
//!
//! # Differences from Envoy
//!
//! - Every answer but the last is HTTP 200. Envoy answers 503 with the status in headers where it cannot reach a backend,
//!   and passes a backend's 503 on; the `grpc-web` client takes any HTTP error for the whole answer, and its message is
//!   "Http response at 400 or 500 level".
//! - A failure between messages is a status, where Envoy breaks the connection.
//! - The message format in the content type is kept (`+json`), where Envoy says `+proto`.
//! - A preflight's answer has no `access-control-expose-headers`, which browsers read from other answers only.

mod base64;
mod call;
mod cors;
mod fault;
mod frame;
mod future;
mod media;
mod request;
mod response;
mod service;
mod status;

pub use self::{
    cors::{Cors, CorsBody, CorsFuture, CorsLayer, OriginError, Origins, cors},
    fault::RequestError,
    future::ResponseFuture,
    request::RequestBody,
    response::Body,
    service::{GrpcWeb, GrpcWebLayer},
};

#[cfg(test)]
mod tests;
