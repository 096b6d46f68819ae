//! The layers in tonic's own server.

use grpc_balance::{
    health_service::HealthServiceLayer,
    serving::{Registry, Status},
    shim::HealthShimLayer,
};
use tokio::net::TcpListener;
use tonic::transport::{Endpoint, Server, server::TcpIncoming};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    pb::helloworld::{HelloRequest, greeter_client::GreeterClient},
    support::{exchange, greeter},
};

#[tokio::test]
async fn both_layers_go_around_tonics_own_server() {
    let registry = Registry::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder()
        .accept_http1(true)
        .layer(HealthShimLayer::new(registry.clone()).path("/"))
        .layer(HealthServiceLayer::new(registry.clone()))
        .add_service(greeter())
        .serve_with_incoming_shutdown(TcpIncoming::from(listener), registry.drain().closing());
    let server = tokio::spawn(server);

    let channel = Endpoint::new(format!("http://{address}")).unwrap().connect().await.unwrap();
    let reply =
        GreeterClient::new(channel.clone()).say_hello(HelloRequest { name: "you".into() }).await.unwrap();
    assert_eq!(reply.into_inner().message, "hello you");
    let mut health = HealthClient::new(channel);
    let check = health.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(check.into_inner().status(), ServingStatus::Serving);
    let mut changes = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(changes.message().await.unwrap().unwrap().status(), ServingStatus::Serving);

    for (status, line) in
        [(Status::Serving, "HTTP/1.1 200 OK"), (Status::NotServing, "HTTP/1.1 503 Service Unavailable")]
    {
        registry.set("", status);
        let answer = exchange(address, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        assert_eq!(answer.lines().next(), Some(line));
    }

    // The watch is still open, and does not hold up the server's graceful end.
    registry.drain().close();
    server.await.unwrap().unwrap();
}
