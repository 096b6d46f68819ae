//! A gateway in small: health shim, health service and a greeter on one port.

use std::{future::pending, net::SocketAddr, time::Duration};

use grpc_balance::{
    app::serve, health_service::HealthServiceLayer, server::Server, serving::Registry, shim::HealthShimLayer,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};
use tonic::{Request, Response, Status, service::Routes};
use tower::ServiceBuilder;

use crate::pb::helloworld::{
    HelloReply, HelloRequest,
    greeter_server::{Greeter, GreeterServer},
};

pub(crate) struct Polite;

#[tonic::async_trait]
impl Greeter for Polite {
    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        Ok(Response::new(HelloReply { message: format!("hello {}", request.into_inner().name) }))
    }
}

pub(crate) fn greeter() -> GreeterServer<Polite> {
    GreeterServer::new(Polite)
}

/// Dropping it ends it.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    serves: JoinHandle<()>,
}

impl Gateway {
    /// Health checks on `/` and `/healthz`. It lingers for longer than any test takes.
    pub(crate) async fn start(registry: &Registry) -> Self {
        let app = ServiceBuilder::new()
            .layer(HealthShimLayer::new(registry.clone()).path("/").path("/healthz"))
            .layer(HealthServiceLayer::new(registry.clone()))
            .service(Routes::new(greeter()));
        let listening = Server::bind("127.0.0.1:0").linger(Duration::from_secs(600)).listen().unwrap();
        let address = listening.local_addrs().next().unwrap();
        let serves = tokio::spawn(serve(listening, app, registry.drain().clone(), pending()));
        Self { address, serves }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) async fn exchange(&self, bytes: &str) -> String {
        exchange(self.address, bytes).await
    }
}

/// Sends these bytes and reads until the server closes.
pub(crate) async fn exchange(address: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.serves.abort();
    }
}
