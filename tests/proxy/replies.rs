//! What the proxy says itself.

use std::{net::SocketAddr, time::Duration};

use grpc_balance::policy::RoundRobin;
use h2::Reason;
use http::{Request, request::Parts};
use tokio::net::TcpListener;

use crate::{
    Proxy,
    raw::{Client, grpc, http1},
    support::greeter::{Action, Greeter},
};

const HELLO: &str = "/helloworld.Greeter/SayHello";

async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("bound")
}

#[tokio::test]
async fn a_refused_connection_is_told_to_grpc_in_one_header_block_and_to_http_as_503() {
    let nobody = closed_port().await;
    let proxy = Proxy::to([nobody]);
    let client = Client::connect(proxy.address).await;
    let seen = client.send(grpc(HELLO)).await.expect("it is answered");
    assert!(seen.ended, "trailers-only");
    assert_eq!(
        (seen.head.status().as_u16(), &seen.head.headers()["grpc-status"]),
        (200, &"14".parse().unwrap())
    );
    let message = seen.head.headers()["grpc-message"].to_str().unwrap().to_owned();
    assert!(message.contains(&nobody.to_string()) && message.contains("connect"), "{message}");

    let seen =
        client.send(Request::get("http://proxy.test/").body(()).unwrap()).await.expect("it is answered");
    assert_eq!(seen.head.status(), 503);
    assert!(seen.end.expect("it ends well").is_none(), "no trailers");
    assert!(String::from_utf8(seen.data).unwrap().contains(&nobody.to_string()));
    let answer = http1(proxy.address, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

#[tokio::test]
async fn a_cluster_without_endpoints_answers_at_once() {
    let proxy = Proxy::to([]);
    let seen = Client::connect(proxy.address).await.send(grpc(HELLO)).await.expect("it is answered");
    assert!(seen.ended);
    assert_eq!(seen.head.headers()["grpc-status"], "14");
    assert!(seen.head.headers()["grpc-message"].to_str().unwrap().contains("no endpoints"));
}

#[tokio::test]
async fn a_stream_that_is_reset_before_its_headers_is_a_status() {
    let backend = Greeter::builder("a").hook(|_: &Parts| Action::Reset(Reason::INTERNAL_ERROR)).start().await;
    let proxy = Proxy::to([backend.address()]);
    let seen = Client::connect(proxy.address).await.send(grpc(HELLO)).await.expect("it is answered");
    assert!(seen.ended);
    assert_eq!(seen.head.headers()["grpc-status"], "13", "INTERNAL_ERROR is INTERNAL to gRPC");
    assert!(seen.head.headers()["grpc-message"].to_str().unwrap().contains(&backend.address().to_string()));
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_headers_ends_the_response_with_trailers() {
    let backend = Greeter::start("a").await;
    let proxy = Proxy::to([backend.address()]);
    let mut client = crate::support::pb::echo::echo_client::EchoClient::new(proxy.channel());
    let request =
        crate::support::pb::echo::EchoRequest { replies: 1_000, pause_ms: 20, ..Default::default() };
    let mut replies = client.download(request).await.expect("it starts").into_inner();
    replies.message().await.expect("no error").expect("a reply");
    let address = backend.address();
    backend.kill();
    let status = loop {
        match replies.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it did not end well"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert!(status.message().contains(&address.to_string()), "{status}");
}

#[tokio::test]
async fn grpc_over_http1_is_refused_since_its_status_would_be_lost() {
    let backend = Greeter::start("a").await;
    let proxy = Proxy::to([backend.address()]);
    let request = format!(
        "POST {HELLO} HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    let answer = http1(proxy.address, &request).await;
    assert!(answer.starts_with("HTTP/1.1 505 ") && answer.contains("HTTP/2"), "{answer}");
    assert_eq!(backend.calls(), 0);
}

#[tokio::test]
async fn what_nobody_processed_is_refused_where_a_proxy_in_front_can_go_elsewhere() {
    let nobody = closed_port().await;
    let proxy = Proxy::configured([nobody], |builder| builder.refuse_unprocessed(true));
    let error =
        Client::connect(proxy.address).await.send(grpc(HELLO)).await.map(drop).expect_err("it is refused");
    assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM));
    // HTTP/1 has no word for it.
    let answer = http1(proxy.address, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");

    // A proxy in front of two such proxies loses nothing.
    let backend = Greeter::start("a").await;
    let well = Proxy::configured([backend.address()], |builder| builder.refuse_unprocessed(true));
    // What would fare no better elsewhere is answered.
    let mut malformed = grpc(HELLO);
    malformed.headers_mut().insert("grpc-timeout", "soon".parse().unwrap());
    let seen = Client::connect(well.address).await.send(malformed).await.expect("it is answered");
    assert_eq!(seen.head.headers()["grpc-status"], "3");
    let front = Proxy::configured([proxy.address, well.address], |builder| builder.policy(RoundRobin::new()));
    let mut client = crate::support::pb::helloworld::greeter_client::GreeterClient::new(front.channel());
    for _ in 0..20 {
        client
            .say_hello(crate::support::pb::helloworld::HelloRequest::default())
            .await
            .expect("it is answered");
    }
}

#[tokio::test]
async fn more_requests_than_the_limit_are_turned_away_at_once() {
    let backend = Greeter::builder("a").hook(|_: &Parts| Action::Hang).start().await;
    let proxy = Proxy::configured([backend.address()], |builder| builder.max_requests(2));
    let client = Client::connect(proxy.address).await;
    let hanging: Vec<_> = (0..2)
        .map(|_| {
            let client = crate::raw::Client::clone(&client);
            tokio::spawn(async move { client.send(grpc(HELLO)).await.map(drop) })
        })
        .collect();
    let both = async {
        while proxy.cluster.active_requests() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), both).await.expect("both are on their way");
    let seen = client.send(grpc(HELLO)).await.expect("it is answered");
    assert_eq!(seen.head.headers()["grpc-status"], "14");
    assert_eq!(seen.head.headers()["x-envoy-overloaded"], "true");
    assert_eq!(proxy.cluster.overflowed_requests(), 1);
    hanging.into_iter().for_each(|call| call.abort());
}
