//! Interceptors and tower layers around a channel, as a tonic application adds them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use grpc_balance::Channel;
use support::{
    greeter::Greeter,
    pb::{
        echo::{EchoRequest, echo_client::EchoClient},
        helloworld::{HelloRequest, greeter_client::GreeterClient},
    },
};
use tonic::{Request, Status};
use tower::ServiceBuilder;

fn channel(to: &Greeter) -> Channel {
    Channel::builder(format!("ipv4:{}", to.address())).build().expect("a good target")
}

fn hello() -> HelloRequest {
    HelloRequest { name: "world".into() }
}

#[tokio::test]
async fn an_interceptor_adds_metadata_that_the_server_sees() {
    let server = Greeter::start("a").await;
    let authenticate = |mut request: Request<()>| {
        request.metadata_mut().insert("authorization", "Bearer token".parse().expect("ASCII"));
        Ok(request)
    };
    let mut client = EchoClient::with_interceptor(channel(&server), authenticate);
    let reply = client.unary(EchoRequest::default()).await.expect("it is served").into_inner();
    let seen = reply.metadata.iter().find(|entry| entry.key == "authorization");
    assert_eq!(seen.map(|entry| entry.value.as_slice()), Some(&b"Bearer token"[..]));
}

#[tokio::test]
async fn an_interceptor_that_refuses_answers_itself() {
    let server = Greeter::start("a").await;
    let refuse = |_: Request<()>| Err(Status::unauthenticated("no token"));
    let mut client = GreeterClient::with_interceptor(channel(&server), refuse);
    let status = client.say_hello(hello()).await.expect_err("it was refused");
    assert_eq!((status.code(), status.message()), (tonic::Code::Unauthenticated, "no token"));
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn layers_go_around_a_channel() {
    let server = Greeter::start("a").await;
    let layered = ServiceBuilder::new()
        .concurrency_limit(1)
        .map_request(|mut request: http::Request<tonic::body::Body>| {
            request.headers_mut().insert("layer", http::HeaderValue::from_static("was here"));
            request
        })
        .service(channel(&server));
    let client = EchoClient::new(layered);
    let slow = EchoRequest { delay_ms: 20, ..EchoRequest::default() };
    let calls = (0..4).map(|_| {
        let (mut client, slow) = (client.clone(), slow.clone());
        async move { client.unary(slow).await }
    });
    let replies = tokio::time::timeout(Duration::from_secs(10), futures_util::future::try_join_all(calls));
    for reply in replies.await.expect("in time").expect("all are served") {
        assert!(reply.get_ref().metadata.iter().any(|entry| entry.key == "layer"));
    }
    assert_eq!(server.peak_in_flight(), 1, "the limit holds");
}
