//! A gateway in small: health shim, health service and a greeter on one port.

use std::{convert::Infallible, net::SocketAddr};

use grpc_balance::{health_service::HealthServiceLayer, serving::Registry, shim::HealthShimLayer};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
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
    accepts: JoinHandle<Infallible>,
}

impl Gateway {
    /// Health checks on `/` and `/healthz`.
    pub(crate) async fn start(registry: &Registry) -> Self {
        let app = ServiceBuilder::new()
            .layer(HealthShimLayer::new(registry.clone()).path("/").path("/healthz"))
            .layer(HealthServiceLayer::new(registry.clone()))
            .service(Routes::new(greeter()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepts = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let app = TowerToHyperService::new(app.clone());
                connections.spawn(async move {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), app).await;
                });
            }
        });
        Self { address, accepts }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends these bytes and reads until the server closes.
    pub(crate) async fn exchange(&self, bytes: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.accepts.abort();
    }
}
