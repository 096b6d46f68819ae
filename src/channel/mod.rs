//! The paved path for clients: a target in, a service for generated clients out.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let channel = grpc_balance::Channel::builder("dns:///greeter.default.svc.cluster.local:50051").build()?;
//! channel.ready(1, std::time::Duration::from_secs(10)).await?;
//! println!("{}", channel.stats());
//! # Ok(()) }
//! ```
//!
//! [`Channel`] is a [`Balance`](crate::Balance) over the endpoints of a [`Target`](crate::target::Target) with
//! HTTP/2 connections, and adds what every call of a client needs: the user agent, the default deadline, and errors
//! that `tonic` reads as a status. Interceptors and tower layers go around it, as around any service.

mod builder;
mod service;

#[cfg(feature = "proxy")]
pub(crate) use self::builder::Built;
pub use self::{
    builder::Builder,
    service::{Body, Channel, ResponseFuture},
};
