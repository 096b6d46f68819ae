//! HTTP/1.1 connections, for applications that speak no HTTP/2: a REST service behind a sidecar.
//!
//! An HTTP/1.1 connection carries one request at a time, so an endpoint has a pool of them. The endpoint is ready as soon
//! as one connection was made; more are made as requests need them, and an idle one is kept for a few seconds. When a
//! connection can no longer be made the endpoint is lost, like one whose HTTP/2 connection broke.
//!
//! ```
//! use grpc_balance::{Balance, connect::http1::Http1Connector, discover::Fixed, endpoint::Endpoint};
//! use http::uri::Authority;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let application: Endpoint = "127.0.0.1:3000".parse()?;
//! let connector = Http1Connector::builder(Authority::from_static("app.test")).build_http1()?;
//! let balance = Balance::builder(Fixed::new([application]), connector).build()?;
//! # drop(balance); Ok(()) }
//! ```

mod body;
mod connector;
mod exchange;
mod pool;
mod slot;

pub use self::{body::Body, connector::Http1Connector, pool::Http1};
