//! What gRPC clients see, tonic-health's first of all.

use grpc_balance::serving::{Registry, Status};
use tonic::{Code, Streaming, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};

use crate::{
    pb::helloworld::{HelloRequest, greeter_client::GreeterClient},
    support::Gateway,
};

fn ask(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

async fn next(changes: &mut Streaming<HealthCheckResponse>) -> ServingStatus {
    changes.message().await.unwrap().expect("it goes on").status()
}

async fn channel(gateway: &Gateway) -> Channel {
    tonic::transport::Endpoint::new(gateway.url()).unwrap().connect().await.unwrap()
}

#[tokio::test]
async fn calls_go_on_to_the_routes_and_what_is_nobodys_is_unimplemented() {
    let gateway = Gateway::start(&Registry::new()).await;
    let channel = channel(&gateway).await;
    let mut greeter = GreeterClient::new(channel.clone());
    let reply = greeter.say_hello(HelloRequest { name: "you".into() }).await.unwrap();
    assert_eq!(reply.into_inner().message, "hello you");

    let mut grpc = tonic::client::Grpc::new(channel);
    for path in ["/", "/healthz", "/nobody.Service/Call", "/grpc.health.v1.Health/Nothing"] {
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<HelloRequest, HelloRequest>::default();
        let called =
            grpc.unary(tonic::Request::new(HelloRequest::default()), path.parse().unwrap(), codec).await;
        assert_eq!(called.unwrap_err().code(), Code::Unimplemented, "{path}");
    }
}

#[tokio::test]
async fn tonic_healths_client_checks() {
    let registry = Registry::new();
    registry.set("helloworld.Greeter", Status::NotServing);
    let gateway = Gateway::start(&registry).await;
    let mut client = HealthClient::new(channel(&gateway).await);
    for (service, expected) in
        [("", ServingStatus::Serving), ("helloworld.Greeter", ServingStatus::NotServing)]
    {
        assert_eq!(client.check(ask(service)).await.unwrap().into_inner().status(), expected);
    }
    let status = client.check(ask("helloworld.Greeter2")).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::NotFound, "there is no service `helloworld.Greeter2`")
    );
}

#[tokio::test]
async fn tonic_healths_client_watches_to_the_end() {
    let registry = Registry::new();
    let gateway = Gateway::start(&registry).await;
    let mut client = HealthClient::new(channel(&gateway).await);
    let mut changes = client.watch(ask("a.B")).await.unwrap().into_inner();
    assert_eq!(next(&mut changes).await, ServingStatus::ServiceUnknown);
    registry.set("a.B", Status::Serving);
    assert_eq!(next(&mut changes).await, ServingStatus::Serving);
    registry.drain().start();
    assert_eq!(next(&mut changes).await, ServingStatus::NotServing);
    registry.drain().close();
    assert_eq!(changes.message().await.unwrap_err().code(), Code::Unavailable);
}
