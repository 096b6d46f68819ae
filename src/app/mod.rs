//! The parts put together: a gRPC server that a load balancer, a kubelet and a rolling deploy understand.
//!
//! [`serve_app`] is the short way: tonic's own `Routes`, an axum router or any other service, with health checks over
//! HTTP and over gRPC beside it on the same port, and one switch that drains all of it. Behind a GKE Ingress or an ALB
//! that is all it takes.
//!
//! ```
//! use grpc_balance::{app::serve_app, server::Server, serving::{Registry, Status}};
//! # use grpc_balance::server::RequestBody;
//! # use http::{Request, Response};
//! # use http_body_util::Empty;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let routes = tower::service_fn(async |_: Request<RequestBody>| {
//! #     Ok::<_, std::convert::Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
//! # });
//! # let sigterm = async {};
//! let registry = Registry::new();
//! registry.set("helloworld.Greeter", Status::Serving);
//! let listening = Server::bind("127.0.0.1:0");                 // "0.0.0.0:50051"
//! # let listening = listening.linger(std::time::Duration::ZERO);
//! serve_app(listening.listen()?, routes, registry, sigterm).await;
//! # Ok(()) }
//! ```
//!
//! [`serve`] is what it stands on: layers of one's own choice, and a server that drains together with them.

mod serve;

pub use self::serve::{serve, serve_app, serve_per_core};
